"""Draw the decision diagrams of the documentation: `python tools/diagrams.py` writes docs/images/decide-*.svg.

Each is a chain of questions. "yes" leads right to an answer, "no" leads down to the next question::

    Is a copy of the effect harmful?  ── yes ──►  Do not retry …
      │ no
    Did the call run at all?          ── yes ──►  …

No font, script or third party; colours follow the page's text, so both colour schemes are readable.
"""

from __future__ import annotations

import textwrap
import tomllib
from dataclasses import dataclass
from html import escape
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
LEFT, BOX, GAP, ANSWER, LINE, PAD = 8, 300, 64, 380, 17, 10


@dataclass(frozen=True)
class Diagram:
    """A chain of questions, each with the answer for "yes", and the answer when all were "no"."""

    name: str
    title: str
    questions: tuple[tuple[str, str], ...]
    otherwise: str


def diagrams() -> list[Diagram]:
    """The diagrams of ``diagrams.toml``."""
    listed = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["diagram"]
    return [
        Diagram(each["name"], each["title"], tuple(map(tuple, each["questions"])), each["otherwise"])
        for each in listed
    ]


def wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, int((width - 2 * PAD) / 6.9))


def box(x: float, y: float, width: float, lines: list[str], *, strong: bool) -> list[str]:
    height = len(lines) * LINE + 2 * PAD
    radius, opacity = (4, ".9") if strong else (14, ".45")
    outline = f'rx="{radius}" fill="none" stroke="currentColor" stroke-opacity="{opacity}"'
    out = [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" {outline}/>']
    for number, line in enumerate(lines):
        out.append(f'<text x="{x + PAD}" y="{y + PAD + 13 + number * LINE}">{escape(line)}</text>')
    return out


def arrow(x1: float, y1: float, x2: float, y2: float, label: str) -> list[str]:
    right = y1 == y2
    if right:
        tip = f"{x2},{y2} {x2 - 7},{y2 - 4} {x2 - 7},{y2 + 4}"
        place = f'x="{(x1 + x2) / 2 - 4}" y="{y1 - 6}" text-anchor="middle"'
    else:
        tip = f"{x2},{y2} {x2 - 4},{y2 - 7} {x2 + 4},{y2 - 7}"
        place = f'x="{x1 + 8}" y="{(y1 + y2) / 2 + 4}"'
    return [
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="currentColor" stroke-opacity=".6"/>',
        f'<polygon points="{tip}" fill="currentColor" fill-opacity=".6"/>',
        f'<text {place} font-weight="600">{label}</text>',
    ]


def draw(diagram: Diagram) -> str:
    """Return the SVG of `diagram`."""
    out: list[str] = []
    y = 8.0
    for question, answer in diagram.questions:
        asked, answered = wrapped(question, BOX), wrapped(answer, ANSWER)
        height = max(len(asked), len(answered)) * LINE + 2 * PAD
        out += box(LEFT, y, BOX, asked, strong=False)
        out += box(LEFT + BOX + GAP, y, ANSWER, answered, strong=True)
        middle = y + (min(len(asked), len(answered)) * LINE + 2 * PAD) / 2
        out += arrow(LEFT + BOX, middle, LEFT + BOX + GAP, middle, "yes")
        own = len(asked) * LINE + 2 * PAD
        out += arrow(LEFT + 24, y + own, LEFT + 24, y + height + 28, "no")
        y += height + 28
    last = wrapped(diagram.otherwise, BOX + GAP + ANSWER)
    out += box(LEFT, y, BOX + GAP + ANSWER, last, strong=True)
    width, height = LEFT * 2 + BOX + GAP + ANSWER, y + len(last) * LINE + 2 * PAD + 8
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" role="img"'
        ' font-family="system-ui,sans-serif" font-size="13" fill="currentColor">'
        "<style>svg{color:#222}@media(prefers-color-scheme:dark){svg{color:#ddd}}</style>"
    )
    return "\n".join((head, f"<title>{escape(diagram.title)}</title>", *out, "</svg>")) + "\n"


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    for each in diagrams():
        (IMAGES / f"{each.name}.svg").write_text(draw(each))


if __name__ == "__main__":
    main()
