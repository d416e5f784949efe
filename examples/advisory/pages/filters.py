"""Small formats: dates and durations as they are written in Brazil, initials for who has no photo."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from advisory.council.export import names
from advisory.council.model import Review, Seat
from advisory.council.texts import clock, second

__all__ = [
    "capitalize_first",
    "clock",
    "count",
    "decimal",
    "dollars",
    "hue",
    "initials",
    "is_web",
    "missing_reviews",
    "moment",
    "names",
    "second",
    "seconds",
]

_BRASILIA = timezone(timedelta(hours=-3))
"""Brazil has kept no summer time since 2019, so no time zone data is needed."""


def moment(value: datetime) -> str:
    """``23/11/2026 às 20:15 (Brasília)``."""
    return value.astimezone(_BRASILIA).strftime("%d/%m/%Y às %H:%M (Brasília)")


def seconds(value: float) -> str:
    """``3,5 s``, and ``2 min 05 s`` for longer waits."""
    if value < 60:
        return f"{value:.1f} s".replace(".", ",")
    whole = round(value)
    return f"{whole // 60} min {whole % 60:02d} s"


def decimal(value: float) -> str:
    """``1,5``, and ``2`` for a whole number."""
    return f"{value:.1f}".removesuffix(".0").replace(".", ",")


def count(value: int) -> str:
    """``1.234``."""
    return f"{value:,}".replace(",", ".")


def dollars(value: float | None) -> str:
    """``US$ 0,0123``: a council costs cents, so four places. None is a price that is not known."""
    return "preço desconhecido" if value is None else f"US$ {value:.4f}".replace(".", ",")


def missing_reviews(reviews: Sequence[Review], seats: Sequence[Seat]) -> list[tuple[str, str]]:
    """Reasons and the names of those whose review is missing for it."""
    found: dict[str, list[int]] = {}
    for each in reviews:
        if each.status == "failed":
            found.setdefault(each.reason, []).append(each.position)
        elif each.status == "stopped":
            found.setdefault("o conselho foi interrompido", []).append(each.position)
    return [(reason, names(positions, seats)) for reason, positions in found.items()]


def initials(name: str) -> str:
    """The first letters of the first and last word."""
    words = [word for word in name.split() if word[:1].isalnum()]
    letters = (words[0][0], *([words[-1][0]] if len(words) > 1 else [])) if words else ("?",)
    return "".join(letters).upper()


def hue(name: str) -> int:
    """One of six colours, the same for the same name."""
    return zlib.crc32(name.encode()) % 6


def is_web(address: str) -> bool:
    """True for an address that a link may have: what a source names is not trusted."""
    return address.startswith(("https://", "http://"))


def capitalize_first(text: str) -> str:
    """The text as a sentence begins: the rest stays as it is."""
    return text[:1].upper() + text[1:]
