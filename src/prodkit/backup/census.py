"""Count what a database holds, so that a restored copy can be compared with the original."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Census", "take"]

_OURS: Final = """\
n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
and not exists (select 1 from pg_catalog.pg_depend d
                where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')"""

_TABLES: Final = f"""\
select n.nspname as schema, c.relname as name,
       pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) as quoted
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence <> 't' and {_OURS}
order by 1, 2"""  # noqa: S608 - constants

# NOT NULL is a constraint of its own only since PostgreSQL 18.
_OBJECTS: Final = f"""\
select 'indexes' as kind, count(*) from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace where {_OURS}
union all
select 'constraints', count(*) from pg_catalog.pg_constraint k join pg_catalog.pg_class c on c.oid = k.conrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace where k.contype <> 'n' and {_OURS}
union all
select 'views', count(*) from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('v', 'm') and {_OURS}
union all
select 'triggers', count(*) from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace where not t.tgisinternal and {_OURS}"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Census:
    """Counts of one database.

    Args:
        tables: rows by table, as ``schema.table``.
        objects: indexes, constraints, views and triggers.
    """

    tables: dict[str, int] = field(default_factory=dict[str, int])
    objects: dict[str, int] = field(default_factory=dict[str, int])

    def differences(self, other: Census) -> list[str]:
        """Return one sentence for each count that differs.

        Args:
            other: the census of the copy.
        """
        found = []
        for name in sorted(self.tables.keys() | other.tables.keys()):
            mine, theirs = self.tables.get(name), other.tables.get(name)
            if mine != theirs:
                found.append(f"{name} has {theirs if theirs is not None else 'no table'}, not {mine} rows")
        found += [
            f"{theirs} {kind}, not {self.objects[kind]}"
            for kind, theirs in sorted(other.objects.items())
            if kind in self.objects and self.objects[kind] != theirs
        ]
        return found


async def take(connection: Any) -> Census:
    """Count every table of the database of a connection.

    Args:
        connection: of asyncpg; inside a transaction it counts one snapshot.
    """
    tables = {}
    for row in await connection.fetch(_TABLES, timeout=60):
        rows = await connection.fetchval(f"select count(*) from {row['quoted']}", timeout=3600)  # noqa: S608
        tables[f"{row['schema']}.{row['name']}"] = int(rows)
    objects = {kind: int(count) for kind, count in await connection.fetch(_OBJECTS, timeout=60)}
    return Census(tables, objects)
