"""A Grafana board and Prometheus alert rules, generated from the catalogue.

python -c "from prodkit.telemetry import board; print(board.grafana_json())" > prodkit.json
python -c "from prodkit.telemetry import board; print(board.alert_rules())" > prodkit.rules.yml
"""

from __future__ import annotations

import json
import pkgutil
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from prodkit.telemetry.catalogue import Entry, entries

__all__ = ["ALERTS", "Alert", "alert_rules", "grafana", "grafana_json"]

_WIDTH: Final = 8
_HEIGHT: Final = 7
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_UNITS: Final = {"seconds": "s", "bytes": "bytes", "tokens": "short", "dollars": "currencyUSD", "": "short"}
# Event classes that stand beside the code that emits them; all others are in a module called events.
_BESIDE: Final = (
    "web.errors", "web.request_events", "web.drain", "web.csrf", "web.security_headers", "sessions.manager",
    "health.health",
)  # fmt: skip
_NOT_MEASURED: Final = ("core", "testing", "telemetry", "cli")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert rule.

    Args:
        name: in CamelCase, as Prometheus shows it.
        expression: the PromQL condition.
        hold: time for which it must hold, such as ``5m``.
        severity: ``page`` wakes a person, ``ticket`` waits for the morning.
        summary: one sentence for the person who is called.
        needs: the metric without which the rule is left out.
    """

    name: str
    expression: str
    hold: str
    severity: str
    summary: str
    needs: str


def _burn(bad: str, all_calls: str, budget: float, factor: float, long: str, short: str) -> str:
    """A burn rate in two windows: the long one proves that it matters, the short one that it still lasts.

    With a budget of 1 % in 30 days, a factor of 14.4 spends 2 % of it in an hour (Google SRE workbook, chapter 5).
    """
    parts = [
        f"(sum(rate({bad}[{window}])) / sum(rate({all_calls}[{window}]))) > {factor * budget:g}"
        for window in (long, short)
    ]
    return " and ".join(parts)


_LLM_BAD: Final = 'prodkit_llm_call_seconds_count{outcome!~"ok|cancelled|neutral"}'
_LLM_ALL: Final = "prodkit_llm_call_seconds_count"
_HTTP_BAD: Final = 'prodkit_http_request_seconds_count{status=~"5.."}'
_HTTP_ALL: Final = "prodkit_http_request_seconds_count"

ALERTS: Final = (
    Alert(
        "ProdkitModelCallsFailFast", _burn(_LLM_BAD, _LLM_ALL, 0.01, 14.4, "1h", "5m"), "2m", "page",
        "Calls to the language model fail 14 times faster than the budget of 1 % in 30 days allows.",
        "llm_call_seconds",
    ),
    Alert(
        "ProdkitModelCallsFailSlowly", _burn(_LLM_BAD, _LLM_ALL, 0.01, 6, "6h", "30m"), "15m", "ticket",
        "Calls to the language model fail 6 times faster than the budget allows.", "llm_call_seconds",
    ),
    Alert(
        "ProdkitRequestsFailFast", _burn(_HTTP_BAD, _HTTP_ALL, 0.001, 14.4, "1h", "5m"), "2m", "page",
        "Requests fail 14 times faster than the budget of 0.1 % in 30 days allows.", "http_request_seconds",
    ),
    Alert(
        "ProdkitRequestsFailSlowly", _burn(_HTTP_BAD, _HTTP_ALL, 0.001, 6, "6h", "30m"), "15m", "ticket",
        "Requests fail 6 times faster than the budget allows.", "http_request_seconds",
    ),
    Alert(
        "ProdkitRequestsFail", 'sum(rate(prodkit_request_failures_total{status=~"5.."}[5m])) > 0.1', "5m", "page",
        "More than one request in ten seconds is answered with an error of the server.", "request_failures",
    ),
    Alert(
        "ProdkitBreakerFlaps", 'sum by (breaker) (increase(prodkit_breaker_transitions_total{after="open"}[30m])) > 5',
        "5m", "ticket", "A circuit breaker opened more than five times in half an hour.", "breaker_transitions",
    ),
    Alert(
        "ProdkitDependencyDown", 'sum by (check) (increase(prodkit_health_changes_total{after="down"}[10m])) > 0', "1m",
        "page", "A dependency went down in the last ten minutes.", "health_changes",
    ),
    Alert(
        "ProdkitPoolExhausted", "sum by (pool) (rate(prodkit_pool_exhausted_total[5m])) > 0", "5m", "page",
        "Requests find no free database connection.", "pool_exhausted",
    ),
    Alert(
        "ProdkitPoolSlow",
        "histogram_quantile(0.99, sum by (le, pool) (rate(prodkit_pool_wait_seconds_bucket[10m]))) > 0.5", "10m",
        "ticket", "One request in a hundred waits more than half a second for a database connection.",
        "pool_wait_seconds",
    ),
    Alert(
        "ProdkitLimitsUnchecked", "sum by (limit) (rate(prodkit_ratelimit_unchecked_total[5m])) > 0", "5m", "ticket",
        "Rate limits could not be checked: Redis is unreachable.", "ratelimit_unchecked",
    ),
    Alert(
        "ProdkitRedisLost", "sum by (address) (increase(prodkit_redis_losses_total[10m])) > 3", "1m", "ticket",
        "The connection to Redis is lost again and again.", "redis_losses",
    ),
    Alert(
        "ProdkitCacheRefreshFails", "sum by (cache) (rate(prodkit_cache_refresh_failures_total[10m])) > 0.1", "10m",
        "ticket", "Entries of the cache cannot be refreshed; stale values are served.", "cache_refresh_failures",
    ),
    Alert(
        "ProdkitSessionWritesLost", "increase(prodkit_session_writes_lost_total[15m]) > 0", "1m", "ticket",
        "Changes of a session were lost.", "session_writes_lost",
    ),
)  # fmt: skip


def grafana() -> dict[str, Any]:
    """Return the board: one row a part, one panel a metric, for an import into Grafana."""
    panels: list[dict[str, Any]] = []
    top = 0
    for part, listed in _by_part().items():
        panels.append(_row(len(panels) + 1, part, top))
        top += 1
        for place, entry in enumerate(listed):
            column, line = place % 3, place // 3
            panels.append(_panel(len(panels) + 1, entry, column * _WIDTH, top + line * _HEIGHT))
        top += (len(listed) + 2) // 3 * _HEIGHT
    return {
        "title": "prodkit",
        "uid": "prodkit",
        "tags": ["prodkit"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
                {
                    "name": "job", "type": "query", "label": "Job", "datasource": _SOURCE, "includeAll": True,
                    "multi": True, "query": "label_values(up, job)", "refresh": 2, "allValue": ".*",
                },
            ]
        },
        "panels": panels,
    }  # fmt: skip


def grafana_json() -> str:
    """Return the board as JSON."""
    return json.dumps(grafana(), indent=2, ensure_ascii=False) + "\n"


def alert_rules() -> str:
    """Return the alert rules as YAML, those whose metrics exist; ``promtool check rules`` accepts them."""
    known = {entry.metric.name for entry in _measured()}
    lines = ["groups:", "  - name: prodkit", "    rules:"]
    for alert in ALERTS:
        if alert.needs in known:
            lines += [
                f"      - alert: {alert.name}",
                f"        expr: {json.dumps(alert.expression)}",
                f"        for: {alert.hold}",
                "        labels:",
                f"          severity: {alert.severity}",
                "        annotations:",
                f"          summary: {json.dumps(alert.summary, ensure_ascii=False)}",
            ]
    return "\n".join(lines) + "\n"


def _measured() -> tuple[Entry, ...]:
    """The catalogue after every event class of the kit is imported; parts without their third party are left out."""
    names = [f"prodkit.{name}" for name in _BESIDE]
    names += (
        f"{package.name}.events"
        for package in pkgutil.iter_modules([str(Path(__file__).parents[1])], "prodkit.")
        if package.ispkg and package.name.rpartition(".")[2] not in _NOT_MEASURED
    )
    for name in names:
        with suppress(ModuleNotFoundError):
            import_module(name)
    return tuple(entry for entry in entries() if not entry.events[0].startswith("test"))


def _by_part() -> dict[str, list[Entry]]:
    parts: dict[str, list[Entry]] = {}
    for entry in _measured():
        parts.setdefault(entry.events[0].partition(".")[0], []).append(entry)
    return dict(sorted(parts.items()))


def _row(number: int, title: str, top: int) -> dict[str, Any]:
    return {
        "id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
        "gridPos": {"h": 1, "w": 24, "x": 0, "y": top},
    }  # fmt: skip


def _panel(number: int, entry: Entry, left: int, top: int) -> dict[str, Any]:
    metric = entry.metric
    by = ", ".join(metric.labels)
    legend = " ".join(f"{{{{{name}}}}}" for name in metric.labels) or entry.name
    chosen = '{job=~"$job"}'
    if metric.kind == "histogram":
        group = ", ".join(("le", *metric.labels))
        rate = f"rate({entry.name}_bucket{chosen}[$__rate_interval])"
        targets = [
            (
                f"histogram_quantile({quantile}, sum by ({group}) ({rate}))",
                f"p{round(quantile * 100)} {legend}",
            )
            for quantile in (0.5, 0.99)
        ]
        unit = _UNITS.get(metric.unit, "short")
    elif metric.kind == "gauge":
        targets = [(f"{entry.name}{chosen}", legend)]
        unit = _UNITS.get(metric.unit, "short")
    else:
        grouped = f"sum by ({by})" if by else "sum"
        targets = [(f"{grouped} (rate({entry.series}{chosen}[$__rate_interval]))", legend)]
        unit = "ops" if not metric.unit else _UNITS.get(metric.unit, "short")
    return {
        "id": number,
        "type": "timeseries",
        "title": entry.name,
        "description": f"{metric.help} Fed by {', '.join(entry.events)}.",
        "datasource": _SOURCE,
        "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": left, "y": top},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {"refId": chr(65 + place), "expr": expression, "legendFormat": shown, "datasource": _SOURCE}
            for place, (expression, shown) in enumerate(targets)
        ],
    }
