"""Deleted rows that can come back: whole deletions with an id and a reason, and their exact restore.

::

    delete(tx, 7, reason="closed by the user")
      expert  7      deleted_at, deletion_id = D        the row
      chat    1, 2   deleted_at, deletion_id = D        its children, where declared
      prodkit_deletions  D, "expert", reason, now()
    restore(tx, D)   exactly these rows; a key that was taken since is a RestoreConflictError
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from prodkit.core.validate import Arguments
from prodkit.errors import InvalidError

__all__ = ["DELETIONS_SCHEMA", "KEEP_DAYS", "Deletion", "RestoreConflictError", "SoftDelete", "quoted"]

KEEP_DAYS: Final = 90
"""Days after which the first service on prodkit purges deleted rows."""

DELETIONS_SCHEMA: Final = """\
CREATE TABLE IF NOT EXISTS prodkit_deletions (
    id         uuid PRIMARY KEY,
    table_name text NOT NULL,
    reason     text NOT NULL DEFAULT '',
    hold       boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);"""
"""The table of deletions, for your migrations. ``hold`` keeps the rows of a deletion from every purge."""

_PARTS: Final = re.compile(r'"(?:[^"]|"")+"|[^."][^.]*')


def quoted(name: str) -> str:
    """Quote an SQL identifier, or a dotted one part by part.

    A part that is quoted already stays as it is; any other is taken as it is written, upper-case letters included.

    Args:
        name: ``expert``, ``shop.Order``, ``"a.b".c``.
    """
    parts = _PARTS.findall(name)
    if not parts or len(parts) > 3 or ".".join(parts) != name or "\0" in name:
        raise ValueError(f"not the name of a table or column: {name!r}")
    done = []
    for part in parts:
        bare = part[1:-1].replace('""', '"') if part.startswith('"') else part
        if not bare.strip() or len(bare.encode()) > 63:
            raise ValueError(f"each part of a name has 1 to 63 bytes, got {name!r}")
        done.append(_quote(bare))
    return ".".join(done)


class Statements(Protocol):
    """The part of a connection that is needed. Give one that is inside a transaction."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...
    async def execute(self, query: str, *args: Any) -> str: ...


class RestoreConflictError(InvalidError):
    """A deletion cannot be restored: a unique key of it was taken since, or its parent is deleted.

    ``constraint`` is the index or constraint in the way, ``table`` the table.
    """

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, constraint: str = "", table: str = ""
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.constraint = constraint
        self.table = table


@dataclass(frozen=True, slots=True)
class Deletion:
    """One act of deleting.

    Args:
        id: names it for :meth:`SoftDelete.restore`.
        rows: rows marked by table, children included.
    """

    id: uuid.UUID
    rows: dict[str, int]


@dataclass(frozen=True, slots=True)
class SoftDelete:
    """Soft deletion for a table with the columns ``deleted_at timestamptz`` and ``deletion_id uuid``.

    ::

        experts = postgres.SoftDelete("expert", children=[postgres.SoftDelete("chat", parent="expert_id")])
        async with db.transaction() as tx:
            deletion = await experts.remove(tx, 7, reason="closed by the user")
        async with db.transaction() as tx:
            await experts.bring_back(tx, deletion.id)

    Args:
        table: the table, quoted where it needs quotes; ``shop.Order`` means the schema ``shop``.
        key: its primary key column.
        parent: as a child, the column that refers to the parent's key.
        children: tables whose rows go and come back with their parent's. A child in the same table makes a tree:
            all its levels go and come back, with every level's own children.
    """

    table: str
    key: str = "id"
    parent: str = ""
    children: Sequence[SoftDelete] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "children", tuple(self.children))
        check = Arguments("SoftDelete")
        check.attempt(lambda: quoted(self.table))
        check.attempt(lambda: quoted(self.key))
        if self.parent:
            check.attempt(lambda: quoted(self.parent))
        for child in self.children:
            check.that(bool(child.parent), f"a child needs parent=, the column of its parent, got {child!r}")
        check.done()

    # --- for migrations ---

    @property
    def columns(self) -> str:
        """The columns, for ``alter table``."""
        return "add column deleted_at timestamptz, add column deletion_id uuid"

    def migration(self, *, unique: Sequence[str | Sequence[str]] = ()) -> str:
        """Return SQL that makes the table and its children ready: columns, indexes, views, and a guard for children.

        For Alembic: ``op.execute(SoftDelete("expert").migration(unique=["email"]))``. Drop a plain unique constraint
        on such a column first; a partial one takes its place, so that a deleted row does not occupy the key.

        Args:
            unique: columns, or groups of columns, that are unique among the rows that are not deleted.
        """
        statements = [DELETIONS_SCHEMA, self._table_sql(unique)]
        self._migrate_children(statements)
        return "\n".join(statements)

    def _migrate_children(self, statements: list[str]) -> None:
        for child in self.children:
            if not self._is_tree(child):
                statements.append(child._table_sql(()))
            statements.append(self._guard_sql(child))
            child._migrate_children(statements)

    def _is_tree(self, child: SoftDelete) -> bool:
        return quoted(child.table) == quoted(self.table)

    def _table_sql(self, unique: Sequence[str | Sequence[str]]) -> str:
        table, bare = quoted(self.table), self._bare
        lines = [
            (
                f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS deleted_at timestamptz, "
                "ADD COLUMN IF NOT EXISTS deletion_id uuid;"
            ),
            (
                f"CREATE INDEX IF NOT EXISTS {_quote(_short(bare, 'deleted'))} ON {table} (deleted_at) "
                "WHERE deleted_at IS NOT NULL;"
            ),
            (
                f"CREATE INDEX IF NOT EXISTS {_quote(_short(bare, 'deletion'))} ON {table} (deletion_id) "
                "WHERE deletion_id IS NOT NULL;"
            ),
        ]
        for group in unique:
            names = [group] if isinstance(group, str) else list(group)
            index = _quote(_short(bare, "_".join([*(_bare(name) for name in names), "live"])))
            listed = ", ".join(quoted(name) for name in names)
            lines.append(
                f"CREATE UNIQUE INDEX IF NOT EXISTS {index} ON {table} ({listed}) WHERE deleted_at IS NULL;"
            )
        lines.append(
            f"CREATE OR REPLACE VIEW {self.view} AS SELECT * FROM {table} WHERE deleted_at IS NULL;"  # noqa: S608
        )
        return "\n".join(lines)

    def _guard_sql(self, child: SoftDelete) -> str:
        """A trigger that refuses a live child below a deleted parent, which a foreign key does not see."""
        name = _quote(_short(child._bare, "live_parent"))
        key = quoted(self.key)
        other = f"AND {key} <> NEW.{key} " if self._is_tree(child) else ""
        return f"""\
CREATE OR REPLACE FUNCTION {self._schema}{name}() RETURNS trigger LANGUAGE plpgsql AS $guard$ BEGIN
  IF NEW.deleted_at IS NULL AND NEW.{quoted(child.parent)} IS NOT NULL THEN
    PERFORM 1 FROM {quoted(self.table)} WHERE {key} = NEW.{quoted(child.parent)}
      {other}AND deleted_at IS NOT NULL FOR SHARE;
    IF FOUND THEN
      RAISE EXCEPTION 'the parent of this row is deleted'
        USING ERRCODE = 'foreign_key_violation', CONSTRAINT = '{name[1:-1].replace("'", "''")}',
              TABLE = TG_TABLE_NAME;
    END IF;
  END IF;
  RETURN NEW;
END $guard$;
CREATE OR REPLACE TRIGGER {name} BEFORE INSERT OR UPDATE OF {quoted(child.parent)}, deleted_at
  ON {quoted(child.table)} FOR EACH ROW EXECUTE FUNCTION {self._schema}{name}();"""

    @property
    def view(self) -> str:
        """The view of the rows that are not deleted, ``<table>_live`` beside the table, quoted."""
        return self._schema + _quote(_short(self._bare, "live"))

    @property
    def conflict(self) -> str:
        """The predicate that ``ON CONFLICT (…)`` must repeat for a partial unique index."""
        return "where deleted_at is null"

    @property
    def _bare(self) -> str:
        return _bare(self.table)

    @property
    def _schema(self) -> str:
        """The part before the table's own name, quoted and with its dot; empty when there is none."""
        return "".join(f"{quoted(part)}." for part in _PARTS.findall(self.table)[:-1])

    # --- statements ---

    @property
    def delete(self) -> str:
        """Statement that marks the row ``$1`` as deleted in the deletion ``$2``, unless it already is."""
        return (
            f"update {quoted(self.table)} set deleted_at = now(), deletion_id = $2 "  # noqa: S608
            f"where {quoted(self.key)} = $1 and deleted_at is null"
        )

    @property
    def restore(self) -> str:
        """Statement that brings back every row of the deletion ``$1``."""
        return (
            f"update {quoted(self.table)} set deleted_at = null, deletion_id = null "  # noqa: S608
            "where deletion_id = $1"
        )

    def _restore_top(self, above: Sequence[str]) -> str:
        """Statement that brings back the rows of the deletion ``$1`` whose parents in the same table are back."""
        name = quoted(self.table)
        key = quoted(self.key)
        up = " or ".join(f"p.{key} = t.{quoted(column)}" for column in above)
        return (
            f"update {name} t set deleted_at = null, deletion_id = null where t.deletion_id = $1 "  # noqa: S608
            f"and not exists (select 1 from {name} p where p.deletion_id = $1 and p.{key} <> t.{key} and ({up}))"
        )

    @property
    def purge(self) -> str:
        """Statement that removes up to ``$2`` rows deleted more than ``$1`` days ago.

        The condition is repeated outside and locked rows are skipped, so that a row restored at the same moment stays.
        """
        old = "deleted_at < now() - make_interval(days => $1)"
        key, table = quoted(self.key), quoted(self.table)
        return (
            f"delete from {table} where {key} in (select {key} from {table} "  # noqa: S608
            f"where {old} order by deleted_at limit $2 for update skip locked) and {old}"
        )

    # --- deletions ---

    async def remove(self, tx: Statements, *keys: Any, reason: str = "") -> Deletion:
        """Mark rows and their children as deleted, as one deletion.

        Args:
            tx: a connection inside a transaction.
            keys: primary keys; rows that are deleted already stay with their own deletion.
            reason: kept with the deletion.
        """
        deletion = uuid.uuid4()
        await tx.execute(
            "insert into prodkit_deletions (id, table_name, reason) values ($1, $2, $3)",
            deletion,
            self.table,
            reason,
        )
        rows: dict[str, int] = {}
        await self._mark(tx, list(keys), deletion, self.key, rows)
        return Deletion(deletion, rows)

    async def _mark(
        self, tx: Statements, keys: list[Any], deletion: uuid.UUID, column: str, rows: dict[str, int]
    ) -> None:
        marked = await tx.fetch(
            f"update {quoted(self.table)} set deleted_at = now(), deletion_id = $2 "  # noqa: S608
            f"where {quoted(column)} = any($1) and deleted_at is null returning {quoted(self.key)}",
            keys,
            deletion,
        )
        rows[self.table] = rows.get(self.table, 0) + len(marked)
        if not marked:
            return
        for child in self.children:
            if self._is_tree(child):
                # its rows are of this table: what belongs to these rows belongs to them too
                below = {*child.children, *self.children}
                child = replace(child, children=tuple(sorted(below, key=repr)))
            await child._mark(tx, [row[0] for row in marked], deletion, child.parent, rows)

    async def bring_back(self, tx: Statements, deletion: uuid.UUID) -> Deletion:
        """Restore exactly the rows of one deletion, parents first.

        Args:
            tx: a connection inside a transaction, which is not usable any more after a conflict.
            deletion: the id of the deletion.

        Raises:
            RestoreConflictError: a key was taken since, or the parent of a row is deleted.
        """
        rows: dict[str, int] = {}
        try:
            await self._unmark(tx, deletion, rows)
        except Exception as error:
            state, constraint = getattr(error, "sqlstate", ""), getattr(error, "constraint_name", "")
            if state not in ("23505", "23503", "23P01"):
                raise
            raise RestoreConflictError(
                f"the deletion cannot be restored: {constraint or 'a constraint'} of "
                f"{getattr(error, 'table_name', '') or self.table} is in the way",
                constraint=constraint or "",
                table=getattr(error, "table_name", "") or self.table,
            ) from error
        await tx.execute("delete from prodkit_deletions where id = $1", deletion)
        return Deletion(deletion, rows)

    async def _unmark(self, tx: Statements, deletion: uuid.UUID, rows: dict[str, int]) -> None:
        done = 0
        above = [child.parent for child in self.children if self._is_tree(child)]
        if above:  # a tree comes back level by level
            while level := _count(await tx.execute(self._restore_top(above), deletion)):
                done += level
        done += _count(await tx.execute(self.restore, deletion))
        rows[self.table] = rows.get(self.table, 0) + done
        for child in self.children:
            await child._unmark(tx, deletion, rows)

    async def hold(self, tx: Statements, deletion: uuid.UUID, *, on: bool = True) -> bool:
        """Keep the rows of a deletion from every purge, for a legal hold, or let them go again.

        Args:
            tx: a connection.
            deletion: the id of the deletion.
            on: False ends the hold.
        """
        tag = await tx.execute("update prodkit_deletions set hold = $2 where id = $1", deletion, on)
        return tag == "UPDATE 1"


def _count(tag: str) -> int:
    """The rows of a tag such as ``UPDATE 3``."""
    return int(tag.rpartition(" ")[2])


def _quote(name: str) -> str:
    """Quote one part, whatever stands in it."""
    return '"' + name.replace('"', '""') + '"'


def _bare(name: str) -> str:
    """The last part of a name, without quotes."""
    part = str(_PARTS.findall(name)[-1])
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _short(name: str, suffix: str) -> str:
    """`name` and `suffix` in the 63 bytes of an identifier."""
    room = 62 - len(suffix.encode())
    return f"{name.encode()[:room].decode(errors='ignore')}_{suffix}"
