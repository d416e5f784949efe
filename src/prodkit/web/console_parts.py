"""Building blocks of the console's sections: tables, charts and percentiles. Everything is escaped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Final

from prodkit.core.recording import Recorded
from prodkit.core.timeline import Chart, Line, Marker, Row
from prodkit.web.console_records import Window, text

__all__ = [
    "COLOURS",
    "MAX_MARKERS",
    "MAX_ROWS",
    "chart",
    "fields",
    "format_seconds",
    "marks",
    "of",
    "percentiles",
    "rate",
    "section",
    "spread",
    "state",
    "table",
    "wide",
]

COLOURS: Final = {
    "closed": "ok", "open": "bad", "half_open": "warn", "isolated": "other",
    "up": "ok", "degraded": "warn", "full": "warn", "down": "bad", "WARNING": "warn", "ERROR": "bad",
}  # fmt: skip
"""Colours of states, of health and of levels."""
MAX_ROWS: Final = 40
MAX_MARKERS: Final = 400
_BUCKETS: Final = 60


def of(window: Window, prefix: str) -> list[Recorded]:
    return [record for record in window.records if record.event.startswith(prefix)]


def fields(record: Recorded) -> str:
    return " ".join(f"{text(name)}={text(value)}" for name, value in list(record.fields.items())[:20])


def section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def wide(content: str, label: str, *, kind: str = "") -> str:
    """Return `content` in a box that scrolls sideways on a narrow screen, with the keyboard too."""
    return f'<div class="wide{kind}" tabindex="0" role="region" aria-label="{escape(label)}">{content}</div>'


def chart(window: Window, title: str, rows: Sequence[Row], lines: Sequence[Line] = (), unit: str = "") -> str:
    svg = Chart(title, rows, lines, window.start, window.end, unit=unit).svg()
    return wide(f"<p>{escape(title)}</p>{svg}", title, kind=" chart")


class _Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def state(value: object, colour: str = "") -> str:
    found = text(value)
    return _Html(f'<b class="{colour or COLOURS.get(found, "idle")}">{escape(found)}</b>')


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], numbers: Iterable[int] = ()) -> str:
    if not rows:
        return ""
    right = set(numbers)

    def cells(tag: str, row: Sequence[object]) -> str:
        shown = (cell if isinstance(cell, _Html) else escape(text(cell)) for cell in row)
        return "".join(
            f'<{tag} class="n">{cell}</{tag}>' if at in right else f"<{tag}>{cell}</{tag}>"
            for at, cell in enumerate(shown)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows[:MAX_ROWS])
    more = f"<p>and {len(rows) - MAX_ROWS} more</p>" if len(rows) > MAX_ROWS else ""
    return wide(f"<table><tr>{cells('th', heads)}</tr>{body}</table>", f"Table: {heads[0]}") + more


def marks(window: Window, event: str, key: str, colour: str, title: str) -> list[Row]:
    found: dict[str, list[Marker]] = defaultdict(list)
    for record in of(window, event):
        found[text(record.fields.get(key))].append(Marker(record.at, colour, title))
    return [Row(name, (), each[-MAX_MARKERS:]) for name, each in sorted(found.items())[:MAX_ROWS]]


def _bucketed(
    window: Window, values: Iterable[tuple[float, float]], measure: Callable[[list[float]], float]
) -> list[tuple[float, float]]:
    width = _width(window)
    buckets: list[list[float]] = [[] for _ in range(_BUCKETS)]
    for at, value in values:
        buckets[min(max(int((at - window.start) / width), 0), _BUCKETS - 1)].append(value)
    return [(window.start + (place + 0.5) * width, measure(each)) for place, each in enumerate(buckets)]


def _width(window: Window) -> float:
    return max(window.end - window.start, 1e-3) / _BUCKETS


def rate(window: Window, label: str, instants: Iterable[float], colour: str, *, filled: bool = False) -> Line:
    width = _width(window)
    points = _bucketed(window, ((at, 1.0) for at in instants), lambda each: _rounded(len(each) / width))
    return Line(label, points, colour, filled)


def percentiles(window: Window, values: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    return _bucketed(window, values, lambda each: _rounded(_quantile(each, 0.95)) if each else float("nan"))


def _rounded(value: float) -> float:
    """Return `value` with three digits, as the scale of a chart shows it."""
    return float(f"{value:.3g}")


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def spread(values: Sequence[float]) -> list[object]:
    if not values:
        return [0, "–", "–", "–"]
    return [
        len(values),
        *(format_seconds(each) for each in (_quantile(values, 0.5), _quantile(values, 0.95), max(values))),
    ]


def format_seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"
