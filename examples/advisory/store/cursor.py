"""A place in a list that is sorted by time: pages go on from it, whatever is added or removed between them.

::

    newer   c  b  [ cursor: a ]  z  y  x   older      (an offset would show z again after one is added)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

__all__ = ["Cursor", "keyset"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
Where: TypeAlias = tuple[datetime | None, UUID | None]


@dataclass(frozen=True, slots=True)
class Cursor:
    """An entry's time and id, which together are unique.

    Args:
        at: the time by which the list is sorted.
        id: of the entry.
        newer: the page is of entries before it in the list, not behind it.
    """

    at: datetime
    id: UUID
    newer: bool = False

    @classmethod
    def read(cls, text: str, *, newer: bool = False) -> Cursor | None:
        """A cursor from an address; None for what is none."""
        digits, _, hexadecimal = text.partition("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 17):
            return None
        try:
            return cls(_EPOCH + int(digits) * _MICROSECOND, UUID(hexadecimal), newer)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // _MICROSECOND}-{self.id.hex}"


def keyset(column: str, cursor: Cursor | None, first: int) -> tuple[str, str, Where]:
    """The condition and the order of one page, and the two values of the placeholders from ``$first`` on.

    A page of newer entries comes in the opposite order: the nearest ones first.
    """
    newer = cursor is not None and cursor.newer
    sign, way = (">", "asc") if newer else ("<", "desc")
    condition = f"(${first}::timestamptz is null or ({column}, id) {sign} (${first}, ${first + 1}::uuid))"
    values: Where = (None, None) if cursor is None else (cursor.at, cursor.id)
    return condition, f"{column} {way}, id {way}", values
