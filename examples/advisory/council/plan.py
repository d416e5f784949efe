"""The remaining work and the outcome of a run. Pure: a resumed run is decided like a new one."""

from __future__ import annotations

from collections.abc import Sequence

from advisory.council.model import RunStatus, Seat, Tally

__all__ = ["MAX_EXPERTS", "MAX_QUESTION", "MIN_QUESTION", "RESUMABLE", "has_quorum", "outcome", "to_ask"]

RESUMABLE = ("partial", "unsynthesised", "no_quorum", "stopped")
"""Outcomes that leave something to do."""

MIN_QUESTION = 10
MAX_QUESTION = 2000
MAX_EXPERTS = 7


def to_ask(seats: Sequence[Seat]) -> tuple[Seat, ...]:
    """The seats without a result. An opinion that was finished before a crash is not asked for again."""
    return tuple(seat for seat in seats if seat.status in ("waiting", "running"))


def has_quorum(seats: Sequence[Seat]) -> bool:
    """Half of the council, and at least one: below that, a synthesis would speak for people who said nothing."""
    tally = Tally.of(seats)
    return tally.done >= 1 and tally.done * 2 >= tally.total


def outcome(seats: Sequence[Seat], *, synthesised: bool) -> RunStatus:
    """The final status, once every seat has a result and the chairman has answered or was not asked."""
    if to_ask(seats):
        raise ValueError("a run with seats that were not asked has no outcome yet")
    if not has_quorum(seats):
        return "no_quorum"
    if not synthesised:
        return "unsynthesised"
    tally = Tally.of(seats)
    return "done" if tally.done == tally.total else "partial"
