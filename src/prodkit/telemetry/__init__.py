"""Telemetry: metrics, traces and error reports from the event stream. One module a sink.

::

    part ─▶ events.emit(event) ─▶ sink, once subscribed by install(runtime=…)
                                    ├─ prometheus     Event.metric → counters, gauges, histograms ─▶ GET /metrics
                                    ├─ opentelemetry  instruments; spans of durations and (ServerSpans) requests
                                    └─ sentry         redaction in every hook, one event an error
    catalogue  the metrics of all event classes
    board      a Grafana board and alert rules, generated from the catalogue
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import board, catalogue, opentelemetry, prometheus, sentry

__all__ = ["board", "catalogue", "opentelemetry", "prometheus", "sentry"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name in __all__:
            from importlib import import_module

            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
