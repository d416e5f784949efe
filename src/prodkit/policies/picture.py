"""Pictures of pipelines: Mermaid for documents, one self-contained SVG for pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from prodkit.core.timeline import COLOURS
from prodkit.policies.base import Policy
from prodkit.policies.breaker import CircuitBreaker

__all__ = ["mermaid", "svg"]

_WIDTH: Final = 180
_GAP: Final = 24
_HEIGHT: Final = 44
_ROW: Final = 84


def mermaid(pipelines: Mapping[str, Sequence[Policy]]) -> str:
    """Return the pipelines as a Mermaid flowchart, one subgraph each, outermost policy first."""
    lines = ["flowchart LR"]
    for number, (name, policies) in enumerate(pipelines.items()):
        lines.append(f'  subgraph p{number}["{_quoted(name)}"]')
        lines.append("    direction LR")
        for index, policy in enumerate(policies):
            lines.append(f'    p{number}_{index}["{_quoted(repr(policy))}"]')
        lines.append(f'    p{number}_call(["call"])')
        steps = [f"p{number}_{index}" for index in range(len(policies))] + [f"p{number}_call"]
        if len(steps) > 1:
            lines.append("    " + " --> ".join(steps))
        lines.append("  end")
    return "\n".join(lines)


def svg(pipelines: Mapping[str, Sequence[Policy]]) -> str:
    """Return the pipelines as an ``<svg>``, one row each; refusing breakers are red, half-open ones amber."""
    longest = max((len(policies) for policies in pipelines.values()), default=0)
    width = 16 + (longest + 1) * (_WIDTH + _GAP)
    height = 16 + len(pipelines) * _ROW
    out = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
            'font-family="system-ui,sans-serif" font-size="11" fill="currentColor"><title>Policies</title>'
        )
    ]
    for number, (name, policies) in enumerate(pipelines.items()):
        top = 16 + number * _ROW
        out.append(f'<text x="8" y="{top + 10}" font-weight="600">{escape(name)}</text>')
        boxes = [(type(policy).__name__, _details(policy), _colour(policy)) for policy in policies]
        for index, (title, details, colour) in enumerate([*boxes, ("call", "", COLOURS["idle"])]):
            out += _box(
                8 + index * (_WIDTH + _GAP), top + 18, title, details, colour, last=index == len(boxes)
            )
    return "".join((*out, "</svg>"))


def _box(x: int, y: int, title: str, details: str, colour: str, *, last: bool) -> list[str]:
    short = details if len(details) <= 30 else f"{details[:29]}…"
    middle = y + _HEIGHT // 2
    out = [
        (
            f'<g><title>{escape(details)}</title><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" '
            f'fill="{colour}" fill-opacity=".15" stroke="{colour}"/>'
            f'<text x="{x + 8}" y="{y + 18}" font-weight="600">{escape(title)}</text>'
            f'<text x="{x + 8}" y="{y + 34}">{escape(short)}</text></g>'
        )
    ]
    if not last:
        end = x + _WIDTH + _GAP
        out.append(
            f'<path d="M{x + _WIDTH} {middle}H{end - 2}m-5 -4l5 4l-5 4" fill="none" stroke="currentColor"/>'
        )
    return out


def _details(policy: Policy) -> str:
    return repr(policy).partition("(")[2].removesuffix(")")


def _colour(policy: Policy) -> str:
    if isinstance(policy, CircuitBreaker):
        state = policy.state
        return COLOURS["ok" if state == "closed" else "warn" if state == "half_open" else "bad"]
    return COLOURS["info"]


def _quoted(text: str) -> str:
    return text.replace('"', "'").replace("[", "(").replace("]", ")")
