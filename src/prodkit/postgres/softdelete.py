"""Deleted rows that can come back: statements for one table, whose conditions are easy to get wrong by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["KEEP_DAYS", "SoftDelete"]

KEEP_DAYS: Final = 90
"""After how many days the service that prodkit was made for purges what was deleted."""

_NAME = re.compile(r"\A[a-z_][a-z0-9_]{0,62}(?:\.[a-z_][a-z0-9_]{0,62})?\Z")


@dataclass(frozen=True, slots=True)
class SoftDelete:
    """SQL for a table with a ``deleted_at timestamptz`` and a ``deletion_id uuid`` column.

    The deletion id ties together what was deleted at once, in this table and in others, so that a restore brings
    back exactly that and not what had been deleted before. Unique keys of such a table are partial indexes
    ``where deleted_at is null``.
    """

    table: str
    key: str = "id"

    def __post_init__(self) -> None:
        for name in (self.table, self.key):
            if not _NAME.match(name):
                raise ValueError(f"not a plain lower-case SQL name: {name!r}")

    @property
    def columns(self) -> str:
        """The columns, for ``alter table``."""
        return "add column deleted_at timestamptz, add column deletion_id uuid"

    @property
    def delete(self) -> str:
        """Marks the row ``$1`` as deleted in the deletion ``$2``; nothing happens when it already is."""
        return (
            f"update {self.table} set deleted_at = now(), deletion_id = $2 "  # noqa: S608 - names are checked above
            f"where {self.key} = $1 and deleted_at is null"
        )

    @property
    def restore(self) -> str:
        """Brings back every row of the deletion ``$1``; a key that was taken meanwhile raises UniqueViolationError."""
        return f"update {self.table} set deleted_at = null, deletion_id = null where deletion_id = $1"  # noqa: S608

    @property
    def purge(self) -> str:
        """Removes up to ``$2`` rows deleted more than ``$1`` days ago: call it until it says ``DELETE 0``.

        The condition is repeated outside, and locked rows are skipped: a row restored at the same moment stays.
        """
        old = "deleted_at < now() - make_interval(days => $1)"
        return (
            f"delete from {self.table} where {self.key} in (select {self.key} from {self.table} "  # noqa: S608
            f"where {old} order by deleted_at limit $2 for update skip locked) and {old}"
        )
