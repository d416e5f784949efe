"""The console's sections: recorded events as tables and timelines. Pure functions; everything is escaped."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import timedelta
from html import escape
from typing import Any, Final

from prodkit.core.recording import Recorded
from prodkit.core.timeline import Band, Line, Row
from prodkit.web import console_parts as parts
from prodkit.web.console_records import Window, number, text

__all__ = ["render"]

_WARNINGS: Final = 100
_DURATIONS: Final = {
    "llm.finished": ("llm", "requested_model", "duration"),
    "llm.attempt": ("llm attempt", "model", "duration"),
    "jobs.finished": ("job", "kind", "duration"),
    "jobs.step_finished": ("step", "step", "duration"),
    "cache.loaded": ("cache load", "cache", "seconds"),
    "gate.passed": ("gate wait", "gate", "waited"),
    "pool.released": ("connection held", "pool", "held"),
    "files.accepted": ("file", "kind", "duration"),
}
"""Events that report a duration: their source, the field that names it, the field with the seconds."""


def render(window: Window, health: Mapping[str, Any] | None = None) -> str:
    """Return the sections as HTML.

    Args:
        window: the records to show.
        health: the private view of a health report; its section is left out when None.
    """
    sections = (_breakers, _calls, _pools, _queues, _limits, _caches, _llm, _warnings)
    shown = [_span(window), "" if health is None else _health(health)]
    shown += [section(window) for section in sections]
    return "".join(shown) + ("" if window.records else "<p>No events yet.</p>")


def _span(window: Window) -> str:
    if not window.records:
        return ""
    last = window.records[-1]
    end = last.time + timedelta(seconds=min(max(window.end - last.at, 0.0), 1e6))
    start = end - timedelta(seconds=min(window.end - window.start, 1e8))
    note = f"{start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC · {len(window.records)} events"
    if window.complete_from > window.start:
        note += f" · events of level DEBUG only of the last {window.end - window.complete_from:.0f} s: memory is full"
    return f"<p>{escape(note)}</p>"


def _health(report: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            parts.state(each.get("status")),
            each.get("reason") or "",
            parts.format_seconds(number(each.get("seconds"))),
        ]
        for name, each in report.get("checks", {}).items()
    ]
    overall = f"<p>Service: {parts.state(report.get('status'))}</p>"
    return parts.section(
        "Health", overall, parts.table(("part", "status", "reason", "check"), rows, numbers={3})
    )


def _breakers(window: Window) -> str:
    states = dict(window.states)
    bands: dict[str, list[Band]] = {name: [] for name in states}
    since = dict.fromkeys(states, window.start)
    opened: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for record in parts.of(window, "breaker."):
        name = text(record.fields.get("breaker"))
        known = text(record.fields.get("before") or record.fields.get("state") or "closed")
        state = states.setdefault(name, known)
        start = since.setdefault(name, window.start)
        bands.setdefault(name, [])
        if record.event == "breaker.rejected":
            rejected[name] += 1
        elif "after" in record.fields:
            after = text(record.fields["after"])
            opened[name] += after == "open"
            bands[name].append(Band(start, record.at, parts.COLOURS.get(state, "idle"), f"{name}: {state}"))
            states[name], since[name] = after, record.at
    for name, state in states.items():
        bands[name].append(
            Band(since[name], window.end, parts.COLOURS.get(state, "idle"), f"{name}: {state}")
        )
    if not states:
        return ""
    rows = [Row(name, each) for name, each in sorted(bands.items())[: parts.MAX_ROWS]]
    cells = [
        [name, parts.state(state), opened[name], rejected[name]] for name, state in sorted(states.items())
    ]
    table = parts.table(("breaker", "state", "opened", "rejected"), cells, numbers={2, 3})
    return parts.section("Circuit breakers", parts.chart(window, "Breaker states", rows), table)


def _calls(window: Window) -> str:
    durations: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for record in window.records:
        if (found := _DURATIONS.get(record.event)) is not None:
            seconds = number(record.fields.get(found[2]))
            if seconds is not None:
                durations[f"{found[0]} {text(record.fields.get(found[1]))}"].append((record.at, seconds))
    retries = parts.of(window, "retry.scheduled")
    gave_up = parts.of(window, "retry.gave_up")
    others = {
        name: len(parts.of(window, name)) for name in ("fallback.used", "hedge.started", "chaos.injected")
    }
    if not durations and not retries and not gave_up and not any(others.values()):
        return ""
    done = [at for each in durations.values() for at, _ in each]
    lines = [
        parts.rate(window, "finished", done, "ok", filled=True),
        parts.rate(window, "retries", [each.at for each in retries], "warn"),
        parts.rate(window, "gave up", [each.at for each in gave_up], "bad"),
    ]
    busiest = sorted(durations.items(), key=lambda item: -len(item[1]))[:4]
    colours = ("info", "other", "ok", "warn")
    latencies = [
        Line(name, parts.percentiles(window, values), colour)
        for (name, values), colour in zip(busiest, colours, strict=False)
    ]
    rows = [[name, *parts.spread([value for _, value in each])] for name, each in sorted(durations.items())]
    counts = [["retries", len(retries)], ["gave up", len(gave_up)], *([a, b] for a, b in others.items() if b)]
    return parts.section(
        "Calls and latencies",
        parts.chart(window, "Calls", (), lines, unit="per s"),
        parts.chart(window, "Latency, 95th percentile", (), latencies, unit="s") if latencies else "",
        parts.table(("source", "count", "p50", "p95", "max"), rows, numbers={1, 2, 3, 4}),
        parts.table(("outcome", "count"), counts, numbers={1}),
    )


def _pools(window: Window) -> str:
    waits: dict[str, list[float]] = defaultdict(list)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in parts.of(window, "pool."):
        name = text(record.fields.get("pool"))
        counts[name][record.event] += 1
        waited = number(record.fields.get("waited"))
        if record.event == "pool.acquired" and waited is not None:
            waits[name].append(waited)
    if not counts:
        return ""
    rows = [
        [
            name,
            *parts.spread(waits[name]),
            *(each[f"pool.{what}"] for what in ("exhausted", "connect_failed", "held_long")),
        ]
        for name, each in sorted(counts.items())
    ]
    waited_at = [
        (record.at, seconds)
        for record in parts.of(window, "pool.acquired")
        if (seconds := number(record.fields.get("waited"))) is not None
    ]
    marks = parts.marks(window, "pool.exhausted", "pool", "bad", "exhausted")
    heads = (
        "pool",
        "acquired",
        "wait p50",
        "wait p95",
        "wait max",
        "exhausted",
        "connect failed",
        "held long",
    )
    line = Line("wait, 95th percentile", parts.percentiles(window, waited_at), "info", filled=True)
    chart = parts.chart(window, "Waits for a connection", marks, [line], unit="s")
    return parts.section("Connection pools", chart, parts.table(heads, rows, numbers=set(range(1, 8))))


def _queues(window: Window) -> str:
    rejected: dict[str, Counter[str]] = defaultdict(Counter)
    latest: dict[str, Recorded] = {}
    for record in parts.of(window, "bulkhead.rejected"):
        name = text(record.fields.get("bulkhead"))
        rejected[name][text(record.fields.get("reason"))] += 1
        latest[name] = record
    gates: dict[str, list[Band]] = defaultdict(list)
    for record in parts.of(window, "gate.closed"):
        seconds = number(record.fields.get("seconds")) or 0.0
        name = text(record.fields.get("gate"))
        end = min(record.at + max(seconds, 0.0), window.end)
        gates[name].append(Band(record.at, end, "warn", f"{name}: closed for {seconds:g} s"))
    limits: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for record in parts.of(window, "limit.changed"):
        if (limit := number(record.fields.get("limit"))) is not None:
            limits[text(record.fields.get("limiter"))].append((record.at, limit))
    if not rejected and not gates and not limits:
        return ""
    rows = [Row(name, bands[-parts.MAX_MARKERS :]) for name, bands in sorted(gates.items())[: parts.MAX_ROWS]]
    rows += parts.marks(window, "bulkhead.rejected", "bulkhead", "bad", "rejected")
    lines = [
        Line(name, [*points, (window.end, points[-1][1])], "info")
        for name, points in sorted(limits.items())[:4]
    ]
    cells = [
        [name, ", ".join(f"{reason}: {count}" for reason, count in sorted(each.items())),
         latest[name].fields.get("inflight"), latest[name].fields.get("waiting")]
        for name, each in sorted(rejected.items())
    ]  # fmt: skip
    table = parts.table(("bulkhead", "rejected", "in flight then", "queued then"), cells, numbers={2, 3})
    return parts.section(
        "Queues and gates",
        parts.chart(window, "Rejections and closed gates", rows, lines, unit="slots"),
        table,
    )


def _limits(window: Window) -> str:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    denied: list[float] = []
    for record in parts.of(window, "ratelimit."):
        if record.event in ("ratelimit.denied", "ratelimit.unchecked"):
            shadow = record.fields.get("shadow") is True
            kind = "unchecked" if record.event == "ratelimit.unchecked" else "shadow" if shadow else "denied"
            counts[text(record.fields.get("limit"))][kind] += 1
            if kind == "denied":
                denied.append(record.at)
    if not counts:
        return ""
    rows = [
        [name, each["denied"], each["shadow"], each["unchecked"]] for name, each in sorted(counts.items())
    ]
    chart = parts.chart(
        window, "Denials", (), [parts.rate(window, "denied", denied, "bad", filled=True)], unit="per s"
    )
    table = parts.table(("limit", "denied", "shadow denials", "unchecked"), rows, numbers={1, 2, 3})
    return parts.section("Rate limits", chart, table)


def _caches(window: Window) -> str:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in parts.of(window, "cache."):
        each = counts[text(record.fields.get("cache"))]
        each[record.event] += 1
        if record.event == "cache.hit":
            each["stale"] += record.fields.get("stale") is True
            each[text(record.fields.get("tier"))] += 1
    if not counts:
        return ""
    rows = []
    for name, each in sorted(counts.items()):
        asked = each["cache.hit"] + each["cache.missed"]
        rate = f"{100 * each['cache.hit'] / asked:.1f} %" if asked else "–"
        found = (
            each["memory"],
            each["redis"],
            each["stale"],
            each["cache.missed"],
            each["cache.refresh_failed"],
        )
        rows.append([name, rate, *found])
    heads = ("cache", "hit rate", "memory hits", "redis hits", "stale", "missed", "refresh failed")
    return parts.section("Caches", parts.table(heads, rows, numbers=set(range(1, 7))))


def _llm(window: Window) -> str:
    models: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for record in parts.of(window, "llm.attempt"):
        attempt = record.fields.get("attempt")
        attempt = attempt if isinstance(attempt, Mapping) else {}
        usage = attempt.get("usage")
        usage = usage if isinstance(usage, Mapping) else {}
        each = models[text(record.fields.get("model"))]
        each["attempts"] += 1
        each["failed"] += record.fields.get("outcome") != "ok"
        each["cost"] += number(attempt.get("cost")) or 0.0
        for kind in ("input_tokens", "output_tokens"):
            each[kind] += number(usage.get(kind)) or 0.0
    calls = parts.of(window, "llm.finished")
    if not models and not calls:
        return ""
    cost = sum(number(record.fields.get("cost")) or 0.0 for record in calls)
    failed = sum(record.fields.get("outcome") != "ok" for record in calls)
    names = ("attempts", "failed", "input_tokens", "output_tokens")
    rows = [
        [name, *(f"{each[key]:.0f}" for key in names), f"${each['cost']:.4f}"]
        for name, each in sorted(models.items())
    ]
    heads = ("model", "attempts", "not ok", "input tokens", "output tokens", "cost")
    note = f"<p>{len(calls)} calls finished, {failed} not ok, ${cost:.4f}</p>"
    return parts.section("Language models", note, parts.table(heads, rows, numbers=set(range(1, 6))))


def _warnings(window: Window) -> str:
    found = [record for record in window.records if record.level in ("WARNING", "ERROR")]
    if not found:
        return ""
    rows = [
        f"<tr><td>{escape(f'{record.time:%H:%M:%S}')}</td><td>{parts.state(record.level)}</td><td>{escape(text(record.event))}"
        f'</td><td class="fields">{escape(parts.fields(record))}</td></tr>'
        for record in reversed(found[-_WARNINGS:])
    ]
    head = "<tr><th>time</th><th>level</th><th>event</th><th>fields</th></tr>"
    note = f"<p>The last {len(rows)} of {len(found)}</p>"
    return parts.section("Warnings", note, parts.wide(f"<table>{head}{''.join(rows)}</table>", "Warnings"))
