"""The bin: what an owner deletes is marked, can be restored, and is removed for good after ninety days."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from prodkit import postgres
from prodkit.postgres.softdelete import KEEP_DAYS

__all__ = ["CHATS", "EXPERTS", "KEPT_DAYS", "PERSONAS", "RUNS", "Bin", "Table", "counts"]

KEPT_DAYS: Final = KEEP_DAYS
"""Ninety days, which the pages promise."""

Table = postgres.SoftDelete
RUNS: Final = Table("runs")
EXPERTS: Final = Table("experts")
PERSONAS: Final = Table("personas")
CHATS: Final = Table("chats")


class Bin:
    """Delete and restore single rows of one table, each by its owner only."""

    def __init__(self, db: postgres.Pool, table: Table) -> None:
        self._db = db
        self._table = table

    async def remove(self, owner_id: int, key: int | UUID) -> bool:
        """Mark one row; False when it is not the owner's, or marked already."""
        async with self._db.transaction() as tx:
            own = await tx.fetchval(
                f"""select true from {self._table.table}
                    where id = $1 and owner_id = $2 and deleted_at is null for update""",  # noqa: S608 - ours
                key,
                owner_id,
            )
            if own:
                await self._table.remove(tx, key, reason="by its owner")
        return bool(own)

    async def restore(self, owner_id: int, key: int | UUID) -> bool:
        """Bring back what one deletion took; False when the row is not the owner's, or not deleted."""
        async with self._db.transaction() as tx:
            deletion = await tx.fetchval(
                f"""select deletion_id from {self._table.table}
                    where id = $1 and owner_id = $2 and deleted_at is not null for update""",  # noqa: S608 - ours
                key,
                owner_id,
            )
            if deletion is not None:
                await self._table.bring_back(tx, deletion)
        return deletion is not None


async def counts(db: postgres.Pool) -> dict[str, tuple[int, int]]:
    """For each table the rows in its bin, and those of them that the next purge removes."""
    found: dict[str, tuple[int, int]] = {}
    for each in (RUNS, EXPERTS, PERSONAS, CHATS):
        (row,) = await db.fetch(
            f"""select count(*) as all, count(*) filter (where deleted_at < now() - $1 * interval '1 day') as due
                from {each.table} where deleted_at is not null""",  # noqa: S608 - ours
            KEPT_DAYS,
        )
        found[each.table] = (row["all"], row["due"])
    return found
