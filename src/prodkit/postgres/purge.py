"""Remove what was soft-deleted long ago: children first, in short statements, resumable at any point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, Protocol

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.postgres.events import PurgeBatch
from prodkit.postgres.softdelete import KEEP_DAYS, SoftDelete, quoted

__all__ = ["Purge", "PurgeReport"]

_TARGET: Final = 0.03
_SMALLEST: Final = 10
_HAS_HOLDS: Final = "select to_regclass('prodkit_deletions') is not null"


class Statements(Protocol):
    """The part of a Pool that is needed: each batch is a transaction of its own."""

    async def fetchval(self, query: str, *args: Any) -> Any: ...
    async def execute(self, query: str, *args: Any) -> str: ...


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """Rows that a purge removed, or would remove.

    Args:
        rows: rows by table.
        dry_run: nothing was removed.
        batches: statements that removed rows.
        longest: seconds of the longest statement.
        kept: rows old enough that stayed because live or held rows refer to them, by table.
    """

    rows: dict[str, int]
    dry_run: bool
    batches: int = 0
    longest: float = 0.0
    kept: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def total(self) -> int:
        """Rows of all tables."""
        return sum(self.rows.values())


class Purge:
    """Removes rows that were deleted more than `days` days ago.

    ::

        report = await postgres.Purge(SoftDelete("expert", children=[…]), days=90).run(db)
        report.rows   # {"chat": 12, "expert": 3}

    Every batch is a statement and a transaction of its own, so a purge that was cut off goes on where it stopped. Rows
    that another transaction holds, such as one that is being restored, are skipped. A parent stays while a child of it
    stays, deleted or not: ``ON DELETE CASCADE`` would remove a live child. Batches shrink while a statement takes
    longer than 30 ms, and grow again up to `batch`.

    Args:
        tables: the tables with their children; several roots in any order.
        days: age of the deletion.
        batch: most rows of one statement.
        pause: seconds between two statements, to leave room for others.
        runtime: clock and events.
    """

    def __init__(
        self,
        *tables: SoftDelete,
        days: int = KEEP_DAYS,
        batch: int = 1000,
        pause: float = 0.0,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("Purge")
        check.that(bool(tables), "at least one SoftDelete is needed")
        for table in tables:
            check.instance("tables", table, SoftDelete, "a SoftDelete")
        check.integer("days", days, minimum=0)
        check.integer("batch", batch, minimum=1)
        check.seconds("pause", pause, zero=True)
        check.done()
        found = [each for table in tables for each in _below(table)]
        self._children: dict[str, list[SoftDelete]] = {each.table: [] for each in found}
        for each in found:
            for child in each.children:
                if all(
                    known.parent != child.parent or known.table != child.table
                    for known in self._children[each.table]
                ):
                    self._children[each.table].append(child)
        self._order = _children_first(found, self._children)
        self._days = days
        self._batch = batch
        self._pause = pause
        self._runtime = runtime

    async def run(
        self,
        db: Statements,
        *,
        dry_run: bool = False,
        limit: int | None = None,
        progress: Callable[[str, int], object] | None = None,
    ) -> PurgeReport:
        """Remove the rows, children first.

        Args:
            db: a pool.
            dry_run: only count.
            limit: most rows in all; None: every one.
            progress: called with the table and its rows so far after each batch.
        """
        holds = bool(await db.fetchval(_HAS_HOLDS))
        rows: dict[str, int] = {}
        kept: dict[str, int] = {}
        batches, longest = 0, 0.0
        for table in self._order:
            if dry_run:
                rows[table.table] = await db.fetchval(_count(table, self._whole(table, holds)), self._days)
                continue
            condition = self._now(table, holds)
            size = self._batch
            while limit is None or sum(rows.values()) < limit:
                wanted = size if limit is None else min(size, limit - sum(rows.values()))
                began = self._runtime.clock.monotonic()
                tag = await db.execute(_delete(table, condition), self._days, wanted)
                took = self._runtime.clock.monotonic() - began
                removed = int(tag.rpartition(" ")[2])
                if not removed:
                    break
                rows[table.table] = rows.get(table.table, 0) + removed
                batches, longest = batches + 1, max(longest, took)
                if self._runtime.events.listened(PurgeBatch):
                    self._runtime.events.emit(PurgeBatch(table=table.table, rows=removed, took=took))
                if progress is not None:
                    progress(table.table, rows[table.table])
                size = max(_SMALLEST, size // 2) if took > _TARGET else min(self._batch, size * 2)
                if self._pause:
                    await self._runtime.clock.sleep(self._pause)
            rows.setdefault(table.table, 0)
            if remaining := await db.fetchval(_count(table, _old()), self._days):
                kept[table.table] = remaining
        if holds and not dry_run:
            await db.execute(_forget(self._order), self._days)
        return PurgeReport(rows, dry_run, batches, longest, kept)

    def _now(self, table: SoftDelete, holds: bool) -> str:
        """Old enough, not held, and no child left."""
        left = [
            f"not exists (select 1 from {quoted(child.table)} c "  # noqa: S608 - names are quoted
            f"where c.{quoted(child.parent)} = t.{quoted(table.key)})"
            for child in self._children[table.table]
        ]
        return " and ".join([_ripe("t", holds), *left])

    def _whole(self, table: SoftDelete, holds: bool, alias: str = "t", above: tuple[str, ...] = ()) -> str:
        """Old enough, not held, and no child that would stay: the condition once all children are through."""
        left = [
            f"not exists (select 1 from {quoted(child.table)} {alias}c "  # noqa: S608 - names are quoted
            f"where {alias}c.{quoted(child.parent)} = {alias}.{quoted(table.key)} "
            f"and ({self._whole(child, holds, f'{alias}c', (*above, table.table))}) is not true)"
            for child in self._children[table.table]
            if table.table not in above  # a tree in one table: one level is looked at
        ]
        return " and ".join([_ripe(alias, holds), *left])

    def __repr__(self) -> str:
        tables = ", ".join(table.table for table in self._order)
        return f"Purge({tables}, days={self._days}, batch={self._batch})"


def _below(table: SoftDelete) -> Iterator[SoftDelete]:
    for child in table.children:
        yield from _below(child)
    yield table


def _children_first(found: list[SoftDelete], children: dict[str, list[SoftDelete]]) -> list[SoftDelete]:
    tables = {each.table: each for each in found}
    graph = {
        name: {child.table for child in below if child.table != name} for name, below in children.items()
    }
    try:
        return [tables[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError:
        return list(tables.values())


def _old(alias: str = "t") -> str:
    return f"{alias}.deleted_at < now() - make_interval(days => $1)"


def _ripe(alias: str, holds: bool) -> str:
    free = f"not exists (select 1 from prodkit_deletions h where h.id = {alias}.deletion_id and h.hold)"  # noqa: S608
    return f"{_old(alias)} and {free}" if holds else _old(alias)


def _delete(table: SoftDelete, condition: str) -> str:
    """The age is asked again outside: the inner query may have seen a row before another session restored it."""
    name, key = quoted(table.table), quoted(table.key)
    return (
        f"delete from {name} t using (select t.{key} as doomed from {name} t "  # noqa: S608 - names are quoted
        f"where {condition} order by t.deleted_at limit $2 for update of t skip locked) batch "
        f"where t.{key} = batch.doomed and {_old()}"
    )


def _count(table: SoftDelete, condition: str) -> str:
    return f"select count(*) from {quoted(table.table)} t where {condition}"  # noqa: S608 - names are quoted


def _forget(tables: list[SoftDelete]) -> str:
    """Remove records of deletions that have no row left in these tables."""
    gone = " and ".join(
        f"not exists (select 1 from {quoted(table.table)} t where t.deletion_id = d.id)"  # noqa: S608
        for table in tables
    )
    roots = ", ".join("'" + table.table.replace("'", "''") + "'" for table in tables)
    return (
        f"delete from prodkit_deletions d where d.table_name in ({roots}) and not d.hold "  # noqa: S608
        f"and d.created_at < now() - make_interval(days => $1) and {gone}"
    )
