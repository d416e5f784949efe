"""The table of agreement and dissent, read from a structured reply. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

from advisory.council.model import Point, Seat

__all__ = ["MAX_POINTS", "AgreementReply", "PointReply", "kind_of", "points_of"]

MAX_POINTS: Final = 8
_LONGEST: Final = 300


class PointReply(BaseModel):
    """One point; experts are named by the numbers of their opinions."""

    model_config = ConfigDict(extra="forbid")
    ponto: str
    concordam: list[int]
    discordam: list[int]
    nota: str


class AgreementReply(BaseModel):
    """The reply of the model that compares the opinions."""

    model_config = ConfigDict(extra="forbid")
    pontos: list[PointReply]


def points_of(reply: AgreementReply, seats: Sequence[Seat]) -> tuple[Point, ...]:
    """The rows that say something: about experts who answered, each on one side."""
    known = [seat.position for seat in seats if seat.status == "done"]
    found = []
    for each in reply.pontos[:MAX_POINTS]:
        both = set(each.concordam) & set(each.discordam)
        agree = tuple(n for n in known if n in each.concordam and n not in both)
        disagree = tuple(n for n in known if n in each.discordam and n not in both)
        if each.ponto.strip() and (agree or disagree):
            found.append(
                Point(text=_short(each.ponto), agree=agree, disagree=disagree, note=_short(each.nota))
            )
    return tuple(found)


def kind_of(point: Point, seats: Sequence[Seat]) -> str:
    """Consensus, dissent, or the view of some: the word of the table's last column."""
    if point.agree and point.disagree:
        return "divergência"
    answered = sum(seat.status == "done" for seat in seats)
    return "consenso" if len(point.agree or point.disagree) == answered else "visão de parte"


def _short(text: str) -> str:
    text = " ".join(text.replace("\x00", "").encode("utf-8", "replace").decode().split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"
