"""A run as a Markdown file."""

from __future__ import annotations

from advisory.council.model import Run
from advisory.council.texts import SEAT_LABELS, banner

__all__ = ["as_markdown", "export_name"]


def as_markdown(run: Run) -> str:
    """Question, outcome, synthesis, opinions. A question's own Markdown is quoted, not obeyed."""
    parts = ["# O Conselho", *(f"> {line}" for line in run.question.splitlines()), banner(run)]
    if run.synthesis:
        parts += ["## Síntese" if run.synthesised else "## Síntese incompleta", run.synthesis]
    parts.append("## Pareceres")
    for seat in run.seats:
        parts += [
            f"### {seat.name}, {seat.role}",
            seat.text or f"_{seat.reason or SEAT_LABELS[seat.status]}_",
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def export_name(run: Run) -> str:
    """A plain file name: nothing of what a user wrote reaches a header."""
    return f"conselho-{run.created_at:%Y-%m-%d}-{run.id.hex[:8]}.md"
