"""Prometheus: the metrics of the event stream, scraped over HTTP.

::

    exporter = telemetry.prometheus.install(runtime=rt)
    app.mount("/metrics", exporter.asgi)          # starlette, FastAPI, Litestar
    print(exporter.text().decode())               # or anything else
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from prodkit.core.events import Event, Metric
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import MissingExtraError
from prodkit.telemetry.catalogue import BUCKETS, MAX_SERIES, PREFIX, entries, label, metrics_of

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["Exporter", "install"]

_OTHER: Final = "other"
_Feed = Callable[[Any], None]


def install(*, runtime: Runtime = SYSTEM, registry: CollectorRegistry | None = None) -> Exporter:
    """Feed Prometheus metrics from the events of `runtime`; names begin with ``prodkit_``.

    Args:
        runtime: the runtime that the service's parts share.
        registry: where the metrics are registered; the client's default registry when None. With
            ``PROMETHEUS_MULTIPROC_DIR`` set, the client sums the workers of one machine.

    Returns:
        The exporter, which serves the text format; ``close()`` ends it.

    Raises:
        MissingExtraError: prometheus-client is not installed.
    """
    try:
        import prometheus_client
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise MissingExtraError.named("prometheus_client", "telemetry") from None
    return Exporter(runtime, prometheus_client.REGISTRY if registry is None else registry)


class Exporter:
    """The subscription that feeds the metrics. Made by :func:`install`.

    Args:
        runtime: the runtime whose events are counted.
        registry: where the metrics are registered.
    """

    def __init__(self, runtime: Runtime, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lock = Lock()
        self._metrics: dict[str, Any] = {}
        self._feeds: dict[type[Event], _Feed] = {}
        for entry in entries():
            self._metric(entry.metric)
        self._unsubscribe = runtime.events.subscribe(self._on_event)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    @property
    def asgi(self) -> Any:
        """The ASGI application that answers scrapes; mount it under ``/metrics``."""
        from prometheus_client import make_asgi_app

        return make_asgi_app(self._registry)  # type: ignore[no-untyped-call, unused-ignore]

    def close(self) -> None:
        """Stop counting, and remove the metrics from the registry."""
        self._unsubscribe()
        with self._lock:
            metrics, self._metrics, self._feeds = self._metrics, {}, {}
        for metric in metrics.values():
            self._registry.unregister(metric)

    def _on_event(self, event: Event) -> None:
        try:
            feed = self._feeds[event.__class__]
        except KeyError:
            feed = self._feeds[event.__class__] = self._feed_of(type(event))
        feed(event)

    def _feed_of(self, kind: type[Event]) -> _Feed:
        """The function that records events of class `kind` in all their metrics."""
        feeds = [self._feed(metric) for metric in metrics_of(kind)]
        if len(feeds) == 1:
            return feeds[0]

        def several(event: Any) -> None:
            for feed in feeds:
                feed(event)

        return several

    def _metric(self, metric: Metric) -> Any:
        """The client's metric, made once; several event classes may feed it."""
        with self._lock:
            found = self._metrics.get(metric.name)
            if found is None:
                found = self._metrics[metric.name] = _make(metric, self._registry)
            return found

    def _feed(self, metric: Metric) -> _Feed:
        """The function that records one event of a class, with the children of its label values at hand."""
        parent, labels, value = self._metric(metric), metric.labels, metric.value
        verb = {"counter": "inc", "gauge": "set", "histogram": "observe"}[metric.kind]
        if not labels:
            record = getattr(parent, verb)
            if not value:
                return lambda event: record()

            def plain(event: Any) -> None:
                amount = getattr(event, value)
                if amount is not None:
                    record(amount)

            return plain
        children: dict[Any, Callable[..., None]] = {}
        key_of = attrgetter(*labels)  # a tuple, or the one value

        if not value:

            def counted(event: Any) -> None:
                try:
                    record = children[key_of(event)]
                except KeyError:
                    record = _child(parent, key_of(event), children, verb)
                record()

            return counted

        def measured(event: Any) -> None:
            amount = getattr(event, value)
            if amount is not None:
                key = key_of(event)
                record = children.get(key) or _child(parent, key, children, verb)
                record(amount)

        return measured


def _child(parent: Any, key: Any, children: dict[Any, Callable[..., None]], verb: str) -> Callable[..., None]:
    """The recorder of these label values; past the limit, that of ``other``, which is not remembered."""
    values = key if isinstance(key, tuple) else (key,)
    if len(children) >= MAX_SERIES:
        found: Callable[..., None] = getattr(parent.labels(*[_OTHER] * len(values)), verb)
        return found
    made: Callable[..., None] = getattr(parent.labels(*map(label, values)), verb)
    children[key] = made
    return made


def _make(metric: Metric, registry: CollectorRegistry) -> Any:
    from prometheus_client import Counter, Gauge, Histogram

    name, text = f"{PREFIX}{metric.name}", metric.help or metric.name
    if metric.kind == "histogram":
        buckets = BUCKETS.get(metric.unit, BUCKETS[""])
        return Histogram(name, text, metric.labels, buckets=buckets, registry=registry)
    if metric.kind == "gauge":
        return Gauge(name, text, metric.labels, registry=registry, multiprocess_mode="mostrecent")
    return Counter(name, text, metric.labels, registry=registry)
