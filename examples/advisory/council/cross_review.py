"""Blind cross-review: who sees which opinion under which label, and what the rankings add up to. Pure."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import AfterValidator, ConfigDict, create_model

from advisory.council.model import Review, Seat

__all__ = [
    "LEAST_OPINIONS",
    "Ranking",
    "Standing",
    "anonymous",
    "label",
    "presented",
    "ranked_seats",
    "ranking_shape",
    "standings",
    "to_review",
]

LEAST_OPINIONS: Final = 3
"""With fewer, an expert would have one opinion to rank."""


class Ranking(Protocol):
    """The reply of a reviewer."""

    ranking: list[str]


@dataclass(frozen=True, slots=True)
class Standing:
    """One expert's place in the opinion of the others. `votes` are the places given, the best one first."""

    place: int
    seat: Seat
    mean: float
    votes: tuple[int, ...]


def label(index: int) -> str:
    """``A`` … ``Z``, ``AA``, ``AB`` …: as columns of a table are named, without an end."""
    found = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        found = chr(65 + rest) + found
    return found


def presented(seats: Sequence[Seat], reviewer: int, seed: int) -> dict[str, Seat]:
    """The opinions that a reviewer sees, by label: without the reviewer's own, in an order that `seed` decides."""
    others = [seat for seat in seats if seat.status == "done" and seat.position != reviewer]
    random.Random(seed).shuffle(others)
    return {label(n): seat for n, seat in enumerate(others)}


def anonymous(text: str, seats: Sequence[Seat]) -> str:
    """The text without the experts' names: whole names in any case, first names as they are written."""
    for seat in seats:
        words = r"\s+".join(re.escape(word) for word in seat.name.split())
        if words:
            text = re.sub(rf"(?<!\w){words}(?!\w)", "[especialista]", text, flags=re.IGNORECASE)
        first = seat.name.split()[:1]
        if first and len(first[0]) > 1:
            text = re.sub(rf"(?<!\w){re.escape(first[0])}(?!\w)", "[especialista]", text)
    return text


def ranking_shape(labels: Sequence[str]) -> type[Ranking]:
    """The type of a reviewer's reply: every label once. Another reply is refused, and asked for once more."""

    def whole(given: list[str]) -> list[str]:
        if sorted(given) != sorted(labels):
            raise ValueError(f"ranking must hold each of {', '.join(labels)} exactly once")
        return given

    one: Any = Literal.__getitem__(tuple(labels))
    items: Any = list[one]
    made: Any = create_model(
        "Ranking",
        __config__=ConfigDict(extra="forbid"),
        ranking=(Annotated[items, AfterValidator(whole)], ...),
    )
    shape: type[Ranking] = made
    return shape


def ranked_seats(shown: Mapping[str, Seat], ranking: Sequence[str]) -> list[int]:
    """The positions behind the labels, the best one first."""
    return [shown[each].position for each in ranking]


def to_review(reviews: Sequence[Review]) -> tuple[Review, ...]:
    """The reviews without a result. One that was finished before a crash is not asked for again."""
    return tuple(each for each in reviews if each.status in ("waiting", "running"))


def standings(seats: Sequence[Seat], reviews: Sequence[Review]) -> list[Standing]:
    """All rankings as one: by the mean of the places given, then by the better votes, then by position.

    No expert ranks their own opinion, so each is judged by all the others who did. Equal means and votes share a place.
    """
    votes: dict[int, list[int]] = {}
    for review in reviews:
        if review.status == "done":
            for place, position in enumerate(review.ranking, start=1):
                votes.setdefault(position, []).append(place)
    by_position = {seat.position: seat for seat in seats}
    rows = sorted(
        (sum(given) / len(given), tuple(sorted(given)), position)
        for position, given in votes.items()
        if position in by_position
    )
    found: list[Standing] = []
    for n, (mean, given, position) in enumerate(rows, start=1):
        last = found[-1] if found else None
        place = last.place if last is not None and (last.mean, last.votes) == (mean, given) else n
        found.append(Standing(place, by_position[position], mean, given))
    return found
