"""The metrics of all event classes that are imported, under the names that the sinks use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from prodkit.core.events import Event, Metric

__all__ = ["BUCKETS", "MAX_SERIES", "PREFIX", "Entry", "entries", "label", "metrics_of"]

PREFIX: Final = "prodkit_"
MAX_SERIES: Final = 500
"""Combinations of label values for one metric; further ones are counted together under ``other``."""

BUCKETS: Final[dict[str, tuple[float, ...]]] = {
    "seconds": (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
    "bytes": tuple(float(1 << power) for power in range(8, 27, 2)),
    "tokens": (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
    "dollars": (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
    "": (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 10_000),
}
"""Upper bounds of histogram buckets by unit."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One metric and the event classes that feed it.

    Args:
        name: with the prefix, without the exporter's suffix.
        metric: its description.
        events: names of the events that feed it.
    """

    name: str
    metric: Metric
    events: tuple[str, ...]

    @property
    def series(self) -> str:
        """The name in Prometheus' text format: counters end in ``_total``."""
        return f"{self.name}_total" if self.metric.kind == "counter" else self.name


def metrics_of(kind: type[Event]) -> tuple[Metric, ...]:
    """Return the metrics that events of class `kind` feed."""
    if kind.metric is None:
        return ()
    return (kind.metric,) if isinstance(kind.metric, Metric) else kind.metric


def entries() -> tuple[Entry, ...]:
    """Return the metrics of all event classes that are imported, by name."""
    found: dict[str, tuple[Metric, list[str]]] = {}
    for kind in _kinds(Event):
        for metric in metrics_of(kind):
            found.setdefault(metric.name, (metric, []))[1].append(kind.name)
    return tuple(
        Entry(f"{PREFIX}{name}", metric, tuple(sorted(set(events))))
        for name, (metric, events) in sorted(found.items())
    )


def _kinds(base: type[Event]) -> Iterator[type[Event]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def label(value: object) -> str:
    """Return the text of a label: short, and without secrets.

    Labels are names that the developer gave, states and reasons; an error class or an address may still hold one.
    """
    from prodkit.core.redaction import redact_text

    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return redact_text(str(value))[:120]
