"""Sentry: error reports without secrets, and one report for each error.

Sentry's own defaults send local variables, breadcrumbs and request headers in clear. Here every hook redacts: errors,
transactions, breadcrumbs, logs and metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from prodkit.core.redaction import Redactor
from prodkit.errors import MissingExtraError

__all__ = ["install", "scrub_event"]

_MAX_TEXT: Final = 8_192
# Parts of a report that name the report itself; their ids look random.
_KEPT: Final = (
    "event_id", "timestamp", "start_timestamp", "platform", "sdk", "type", "level", "release", "environment",
)  # fmt: skip
_redactor: Final = Redactor(max_text=_MAX_TEXT, max_depth=32, max_nodes=100_000)


def install(dsn: str | None = None, **options: Any) -> None:
    """Start sentry-sdk with redaction in every hook; hooks of yours run first and see what Sentry would.

    Args:
        dsn: the project's address; ``SENTRY_DSN`` of the environment when None.
        options: further options of ``sentry_sdk.init``, such as ``environment=`` and ``traces_sample_rate=``.

    Raises:
        MissingExtraError: sentry-sdk is not installed.
    """
    try:
        import sentry_sdk
    except ModuleNotFoundError as error:
        if error.name != "sentry_sdk":
            raise
        raise MissingExtraError.named("sentry_sdk", "telemetry") from None
    options["before_send"] = _hook(options.get("before_send"), once=True)
    for name in ("before_send_transaction", "before_breadcrumb", "before_send_log", "before_send_metric"):
        options[name] = _hook(options.get(name))
    sentry_sdk.init(dsn, **options)


def scrub_event(event: Any) -> Any:
    """Return a copy of a report, breadcrumb or log of Sentry without secrets.

    Args:
        event: the dictionary that a hook of sentry-sdk receives.
    """
    if not isinstance(event, dict):
        return _redactor.redact(event)
    shown = _redactor.redact(event)
    if not isinstance(shown, dict):  # redaction failed: nothing of the event leaves
        return {key: event[key] for key in _KEPT if key in event}
    shown.update({key: event[key] for key in _KEPT if key in event})
    trace = event.get("contexts", {}).get("trace") if isinstance(event.get("contexts"), dict) else None
    if isinstance(trace, dict) and isinstance(shown.get("contexts"), dict):
        ids = {key: trace[key] for key in ("trace_id", "span_id", "parent_span_id") if key in trace}
        shown["contexts"]["trace"] = {**shown["contexts"].get("trace", {}), **ids}
    return shown


def _hook(own: Callable[[Any, Any], Any] | None, *, once: bool = False) -> Callable[[Any, Any], Any]:
    def before(event: Any, hint: Any) -> Any:
        if once and _is_bridged(hint):
            return None
        if own is not None:
            event = own(event, hint)
        return None if event is None else scrub_event(event)

    return before


def _is_bridged(hint: Any) -> bool:
    """Return True for the loguru copy of a record of the standard library.

    Sentry's logging integration reports the record itself; the bridge of ``logs`` hands it to loguru as well, with the
    path of the caller, and loguru's integration would report it again.
    """
    record = hint.get("log_record") if isinstance(hint, dict) else None
    extra = getattr(record, "extra", None)
    if not isinstance(extra, dict) or "_path" not in extra:
        return False
    import sentry_sdk

    return sentry_sdk.get_client().get_integration("logging") is not None
