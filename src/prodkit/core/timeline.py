"""Draw timelines and charts as one self-contained SVG: for the console, ``prodkit replay`` and benchmarks.

No script, no style sheet, no font of its own; colours follow the page where it defines the CSS variables
``--pk-ok``, ``--pk-bad`` and so on, and are readable on light and dark grounds without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

__all__ = ["COLOURS", "Band", "Chart", "Line", "Marker", "Row"]

COLOURS: Final = {
    "ok": "#2e9e5b",
    "bad": "#d1453b",
    "warn": "#d98a1f",
    "idle": "#8a94a6",
    "info": "#3b7dd1",
    "other": "#8e5bd1",
}
"""Colours by meaning, with a contrast of at least 3:1 on white and on black."""

_LEFT: Final = 120
_RIGHT: Final = 16
_ROW: Final = 22
_PLOT: Final = 120


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time in one state.

    Args:
        start: seconds.
        end: seconds.
        colour: a key of :data:`COLOURS`.
        title: shown on hover and read by screen readers.
    """

    start: float
    end: float
    colour: str = "info"
    title: str = ""


@dataclass(frozen=True, slots=True)
class Marker:
    """One instant, drawn as a vertical stroke; the fields are those of :class:`Band`."""

    at: float
    colour: str = "bad"
    title: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled row of bands and markers, such as one breaker."""

    label: str
    bands: Sequence[Band] = ()
    markers: Sequence[Marker] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A curve in the plot under the rows.

    Args:
        label: in the legend.
        points: pairs of seconds and value, in order of time; NaN leaves a gap.
        colour: a key of :data:`COLOURS`.
        filled: fill the area down to zero.
    """

    label: str
    points: Sequence[tuple[float, float]]
    colour: str = "info"
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """Rows of states over a shared time axis, and a plot of curves under them.

    Args:
        title: the accessible name of the picture.
        rows: drawn from top to bottom.
        lines: curves that share one scale, which begins at 0.
        start: left end of the axis in seconds; the earliest instant when None.
        end: right end of the axis in seconds; the latest instant when None.
        width: pixels.
        unit: of the curves' values, such as ``calls/s``.
    """

    title: str
    rows: Sequence[Row] = ()
    lines: Sequence[Line] = ()
    start: float | None = None
    end: float | None = None
    width: int = 720
    unit: str = ""

    def svg(self) -> str:
        """Return the picture as an ``<svg>`` element."""
        start, end = self._span()
        plot_top = 24 + _ROW * len(self.rows)
        height = plot_top + (_PLOT + 20 if self.lines else 0) + 24
        scale = (self.width - _LEFT - _RIGHT) / (end - start)

        def x(seconds: float) -> float:
            return round(_LEFT + (min(max(seconds, start), end) - start) * scale, 2)

        box = f'viewBox="0 0 {self.width} {height}" role="img"'
        font = 'font-family="system-ui,sans-serif" font-size="12" fill="currentColor"'
        out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {box} {font}>',
            f"<title>{escape(self.title)}</title>",
        ]
        for number, row in enumerate(self.rows):
            out += self._row(row, 20 + _ROW * number, x)
        if self.lines:
            out += self._plot(plot_top, x)
        bottom = height - 24
        for tick in _ticks(start, end):
            out.append(
                f'<line x1="{x(tick)}" x2="{x(tick)}" y1="16" y2="{bottom}" stroke="currentColor" opacity=".12"/>'
                f'<text x="{x(tick)}" y="{bottom + 16}" text-anchor="middle" opacity=".7">{_clock(tick - start)}</text>'
            )
        return "".join((*out, "</svg>"))

    def _row(self, row: Row, top: int, x: Callable[[float], float]) -> list[str]:
        label = row.label if len(row.label) <= 18 else f"{row.label[:17]}…"
        out = [f'<text x="4" y="{top + 13}"><title>{escape(row.label)}</title>{escape(label)}</text>']
        for band in row.bands:
            width = max(x(band.end) - x(band.start), 0.5)
            out.append(
                f'<rect x="{x(band.start)}" y="{top + 2}" width="{width:g}" height="{_ROW - 6}" rx="2" '
                f'fill="{_colour(band.colour)}"><title>{escape(band.title)}</title></rect>'
            )
        out += [
            f'<rect x="{x(mark.at) - 1:g}" y="{top}" width="2" height="{_ROW - 2}" '
            f'fill="{_colour(mark.colour)}"><title>{escape(mark.title)}</title></rect>'
            for mark in row.markers
        ]
        return out

    def _plot(self, top: int, x: Callable[[float], float]) -> list[str]:
        values = [value for line in self.lines for _, value in line.points if math.isfinite(value)]
        highest = max(values, default=1.0) or 1.0
        top_label = f"{float(f'{highest:.3g}'):g} {escape(self.unit)}"

        def y(value: float) -> float:
            return round(top + 20 + _PLOT - 20 - (value / highest) * (_PLOT - 24), 2)

        scale = 'text-anchor="end" opacity=".7"'
        out = [
            f'<text x="{_LEFT - 6}" y="{y(highest) + 4}" {scale}>{top_label}</text>',
            f'<text x="{_LEFT - 6}" y="{y(0) + 4}" {scale}>0</text>',
        ]
        left = _LEFT
        for line in self.lines:
            colour = _colour(line.colour)
            for stretch in _stretches(line.points):
                points = " ".join(f"{x(at)},{y(value)}" for at, value in stretch)
                if line.filled:
                    first, last = x(stretch[0][0]), x(stretch[-1][0])
                    closed = f"{first},{y(0)} {points} {last},{y(0)}"
                    out.append(f'<polygon points="{closed}" fill="{colour}" opacity=".25"/>')
                out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
            out.append(
                f'<rect x="{left}" y="{top + 4}" width="10" height="10" fill="{colour}"/>'
                f'<text x="{left + 14}" y="{top + 13}">{escape(line.label)}</text>'
            )
            left += 28 + 7 * len(line.label)
        return out

    def _span(self) -> tuple[float, float]:
        instants = [
            each
            for row in self.rows
            for each in (
                *(band.start for band in row.bands),
                *(band.end for band in row.bands),
                *(mark.at for mark in row.markers),
            )
            if math.isfinite(each)
        ] + [at for line in self.lines for at, _ in line.points]
        start = self.start if self.start is not None else min(instants, default=0.0)
        end = self.end if self.end is not None else max(instants, default=start + 1.0)
        return start, end if end > start else start + 1.0


def _colour(name: str) -> str:
    """Return the CSS colour for a meaning, which the page may override."""
    return f"var(--pk-{name}, {COLOURS[name]})"


def _stretches(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Split a curve at its gaps."""
    found: list[list[tuple[float, float]]] = [[]]
    for at, value in points:
        if math.isfinite(value):
            found[-1].append((at, value))
        elif found[-1]:
            found.append([])
    return [each for each in found if each]


def _ticks(start: float, end: float) -> list[float]:
    """Return at most nine round instants: steps of 1, 2, 5, 10, 15, 30 s, then minutes and hours."""
    steps = (
        0.1,
        0.2,
        0.5,
        1,
        2,
        5,
        10,
        15,
        30,
        60,
        120,
        300,
        600,
        900,
        1800,
        3600,
        7200,
        14400,
        43200,
        86400,
    )
    step = next((each for each in steps if (end - start) / each <= 8), (end - start) / 8)
    return [start + step * number for number in range(int((end - start) / step) + 1)]


def _clock(seconds: float) -> str:
    """Return an offset as ``90 s``, ``12:30`` or ``1:05:00``."""
    if seconds < 120:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
