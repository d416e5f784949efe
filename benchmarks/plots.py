"""Draw the published results: `python -m benchmarks.plots` writes docs/images/*.svg from benchmarks/results.

The tables (*.md) become bars, bench-*.svg; the curves (timelines.json) become timeline-*.svg.

Names of benchmarks as arguments add their pictures; they are shown in docs/explanation/measured.md.
Nothing is measured here. A bar is one figure of a table; a tick marks the goal. Each picture names its benchmark, and
the page that shows it names the command that repeats it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from prodkit.core.timeline import Band, Chart, Line, Row

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
LABEL, WIDTH, HEIGHT = 250, 720, 20
OURS, OTHERS = "#3b7dd1", "#8a94a6"


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure; `ours` is drawn in colour, `goal` as a tick."""

    label: str
    value: float
    shown: str
    ours: bool
    goal: float | None = None


def number(cell: str) -> float | None:
    """The figure of a cell such as ``×1.05``, ``60`` or ``5,000 ms``; None for text."""
    found = re.match(r"^×?(-?[\d,]+(?:\.\d+)?(?:e[+-]?\d+)?)", cell.strip())
    return float(found[1].replace(",", "")) if found else None


def tables(text: str) -> list[list[list[str]]]:
    """The Markdown tables of a page, as rows of cells without the separator row."""
    found: list[list[list[str]]] = []
    before = False
    for line in text.splitlines():
        if line.startswith("|"):
            if not before:
                found.append([])
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not all(set(cell) <= {"-", ":"} for cell in cells):
                found[-1].append(cells)
        before = line.startswith("|")
    return found


def bars_of(page: str, table: list[list[str]]) -> list[Bar]:
    """Bars of a harness table (prodkit beside its peers, row by row), or of the first figure of a ranking."""
    head, *rows = table
    bars: list[Bar] = []
    if "prodkit" in head:
        for row in rows:
            goal = number(re.sub(r"^[≤≥] ", "", row[head.index("goal")])) if "goal" in head else None
            for name, cell in zip(head, row, strict=True):
                value = number(cell)
                if value is not None and name not in ("", "goal"):
                    label = row[0] if name == "prodkit" else f"    {name}"
                    bars.append(
                        Bar(label, value, cell, name == "prodkit", goal if name == "prodkit" else None)
                    )
        return bars
    for row in rows:
        value = number(row[1]) if len(row) > 1 else None
        if value is not None:
            bars.append(Bar(row[0], value, row[1], row[0].startswith("prodkit")))
    return sorted(bars, key=lambda bar: -bar.value)


def draw(title: str, bars: list[Bar]) -> str:
    """Return one picture; bars of one row share a scale, since their units differ from row to row."""
    groups: list[list[Bar]] = []
    for bar in bars:
        if not groups or (bar.ours and any(each.label.startswith("    ") for each in bars)):
            groups.append([])
        groups[-1].append(bar)
    out: list[str] = []
    y = 30
    for group in groups:
        top = max([*(bar.value for bar in group), *(bar.goal or 0 for bar in group), 1e-9])
        for bar in group:
            length = (WIDTH - LABEL - 90) * max(bar.value, 0) / top
            label = bar.label if len(bar.label) <= 40 else f"{bar.label[:39]}…"
            out.append(
                f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(label.strip())}'
                f"<title>{escape(bar.label.strip())}</title></text>"
            )
            colour = OURS if bar.ours else OTHERS
            out.append(
                f'<rect x="{LABEL}" y="{y + 3}" width="{max(length, 1):.1f}" height="14" fill="{colour}"/>'
            )
            out.append(f'<text x="{LABEL + max(length, 1) + 6:.1f}" y="{y + 14}">{escape(bar.shown)}</text>')
            if bar.goal:
                x = LABEL + (WIDTH - LABEL - 90) * bar.goal / top
                out.append(
                    f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 20}" stroke="#d98a1f" stroke-width="2">'
                    f"<title>goal {bar.goal:g}</title></line>"
                )
            y += HEIGHT
        y += 8
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 4}" role="img"'
        ' font-family="system-ui,sans-serif" font-size="12" fill="currentColor">'
        "<style>svg{color:#222}@media(prefers-color-scheme:dark){svg{color:#ddd}}</style>"
    )
    heading = f'<title>{escape(title)}</title><text x="8" y="16" font-weight="600">{escape(title)}</text>'
    return "\n".join((head, heading, *out, "</svg>")) + "\n"


def pictures() -> dict[str, str]:
    """Every picture by its file name, from the results as they are."""
    found: dict[str, str] = {}
    for page in sorted(RESULTS.glob("*.md")):
        text = page.read_text()
        title = text.splitlines()[0].removeprefix("# ")
        for table in tables(text):
            bars = bars_of(page.stem, table)
            if bars:
                found[f"bench-{page.stem}.svg"] = draw(title, bars)
                break
    return found | timelines()


def timelines() -> dict[str, str]:
    """The curves of benchmarks/timelines.py by their file names."""
    return {
        f"timeline-{name}.svg": Chart(
            each["title"],
            [Row(each["row"], [Band(*band) for band in each["bands"]])] if each["bands"] else [],
            [Line(**line) for line in each["lines"]],
            start=0.0,
            unit=each["unit"],
        ).svg()
        + "\n"
        for name, each in json.loads((RESULTS / "timelines.json").read_text()).items()
    }


def main(added: Sequence[str] = ()) -> None:
    """Redraw the pictures that are there, and draw those of `added` benchmarks for the first time."""
    IMAGES.mkdir(exist_ok=True)
    new = {f"bench-{name}.svg" for name in added}
    for name, picture in pictures().items():
        if name in new or name.startswith("timeline-") or (IMAGES / name).exists():
            (IMAGES / name).write_text(picture)
            print(f"docs/images/{name}")


if __name__ == "__main__":
    main(sys.argv[1:])
