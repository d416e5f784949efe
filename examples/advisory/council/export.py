"""A run as a Markdown file."""

from __future__ import annotations

from collections.abc import Sequence

from advisory.council.agreement import kind_of
from advisory.council.chat import TURN_LABELS, Chat
from advisory.council.cross_review import standings
from advisory.council.model import Run, Seat
from advisory.council.texts import SEAT_LABELS, banner

__all__ = ["as_markdown", "chat_as_markdown", "chat_export_name", "export_name", "names"]


def as_markdown(run: Run) -> str:
    """Question, outcome, synthesis, table, ranking, opinions. A question's own Markdown is quoted, not obeyed."""
    parts = ["# O Conselho", *(f"> {line}" for line in run.question.splitlines()), banner(run)]
    if run.synthesis:
        parts += ["## Síntese" if run.synthesised else "## Síntese incompleta", run.synthesis]
    if run.agreement:
        rows = [
            f"| {_cell(each.text)} | {names(each.agree, run.seats)} | {names(each.disagree, run.seats)} |"
            f" {kind_of(each, run.seats)} |"
            for each in run.agreement
        ]
        head = ["| Ponto | Concordam | Discordam | Situação |", "|---|---|---|---|"]
        parts += ["## Onde concordam e onde divergem", "\n".join([*head, *rows])]
    if ranked := standings(run.seats, run.reviews):
        parts += [
            "## Revisão cruzada",
            "\n".join(f"{each.place}. {each.seat.name} (lugar médio {each.mean:.1f})" for each in ranked),
        ]
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


def chat_as_markdown(chat: Chat) -> str:
    """The conversation, question by question."""
    parts = [f"# Conversa com {chat.name}", f"_{chat.role}_"]
    if chat.about:
        parts += ["A partir do conselho sobre:", _quoted(chat.about)]
    for turn in chat.turns:
        parts += [f"## Pergunta {turn.position}", _quoted(turn.question), f"### {chat.name}"]
        if turn.answer:
            parts.append(turn.answer)
        if turn.status != "done":
            parts.append(f"_{TURN_LABELS[turn.status]}{f': {turn.reason}' if turn.reason else ''}_")
    return "\n\n".join(parts) + "\n"


def chat_export_name(chat: Chat) -> str:
    """A plain file name."""
    return f"conversa-{chat.created_at:%Y-%m-%d}-{chat.id.hex[:8]}.md"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines())


def names(positions: Sequence[int], seats: Sequence[Seat]) -> str:
    """The names of the experts on these seats."""
    return ", ".join(seat.name for seat in seats if seat.position in positions) or "ninguém"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
