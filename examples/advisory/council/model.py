"""A council as values: a run, its seats, and the words for where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias
from uuid import UUID

__all__ = [
    "FINISHED",
    "RUN_STATUSES",
    "Point",
    "Review",
    "Run",
    "RunStatus",
    "Seat",
    "SeatStatus",
    "Spend",
    "Tally",
]

SeatStatus: TypeAlias = Literal["waiting", "running", "done", "failed", "stopped"]
RunStatus: TypeAlias = Literal[
    "queued",
    "running",
    "done",  # every opinion and the synthesis
    "partial",  # the synthesis, without some of the experts
    "unsynthesised",  # opinions, but the chairman failed
    "no_quorum",  # too few opinions for a synthesis that deserves the name
    "stopped",  # the user ended it; what was finished is kept
]
RUN_STATUSES: Final = ("queued", "running", "done", "partial", "unsynthesised", "no_quorum", "stopped")
FINISHED: Final = frozenset({"done", "partial", "unsynthesised", "no_quorum", "stopped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One expert's place in a run, with a copy of who the expert was when the question was asked."""

    position: int
    name: str
    role: str
    system: str = ""
    avatar_id: UUID | None = None
    status: SeatStatus = "waiting"
    text: str = ""
    reason: str = ""
    model: str = ""
    seconds: float | None = None
    attempt: int = 0
    """The attempt that is waited for; 0 while none is."""
    attempts: int = 0
    retry_at: datetime | None = None
    retry_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One expert's ranking of the others' opinions."""

    position: int
    """The seat of the expert who ranks."""
    seed: int
    """Decides the order in which the opinions were shown, so that it can be repeated."""
    status: SeatStatus = "waiting"
    ranking: tuple[int, ...] = ()
    """The seats that were ranked, the best one first."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One row of the table of agreement and dissent."""

    text: str
    agree: tuple[int, ...]
    disagree: tuple[int, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """The cost of one step: ``seat:2``, ``review:2``, ``synthesis`` or ``agreement``."""

    step: str
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    """US dollars; None where the price of a model is not known."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The number of seats in each state."""

    total: int
    done: int
    failed: int
    stopped: int

    @classmethod
    def of(cls, seats: Sequence[Seat]) -> Tally:
        count = [seat.status for seat in seats].count
        return cls(total=len(seats), done=count("done"), failed=count("failed"), stopped=count("stopped"))

    @property
    def settled(self) -> int:
        """Seats that will not change by themselves."""
        return self.done + self.failed + self.stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One question put to the council."""

    id: UUID
    question: str
    status: RunStatus
    created_at: datetime
    finished_at: datetime | None = None
    deleted_at: datetime | None = None
    synthesis: str = ""
    synthesis_model: str = ""
    synthesis_reason: str = ""
    last_seq: int = 0
    persona_id: int | None = None
    persona_name: str = ""
    seats: tuple[Seat, ...] = field(default=())
    reviews: tuple[Review, ...] = field(default=())
    agreement: tuple[Point, ...] = field(default=())
    agreement_reason: str = ""
    spends: tuple[Spend, ...] = field(default=())

    @property
    def finished(self) -> bool:
        """True when nothing more happens unless the user asks for it."""
        return self.status in FINISHED

    @property
    def synthesised(self) -> bool:
        """True when the synthesis is whole, not only its beginning."""
        return self.status in ("done", "partial")

    @property
    def tally(self) -> Tally:
        return Tally.of(self.seats)
