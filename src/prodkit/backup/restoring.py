"""Restore a backup into a new database, which then takes the place of the old one."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prodkit.backup.address import Address
from prodkit.backup.dumping import connect
from prodkit.backup.events import BackupFailed, BackupRestored
from prodkit.backup.process import in_deadline
from prodkit.backup.source import Source
from prodkit.backup.tools import find_tools
from prodkit.backup.verifying import entered, load_and_count, require_same
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable
from prodkit.errors import BackupError

__all__ = ["Restored", "restore"]

_EXISTS: Final = "select 1 from pg_catalog.pg_database where datname = $1"
_END_SESSIONS: Final = """\
select pg_catalog.pg_terminate_backend(pid, 5000) from pg_catalog.pg_stat_activity
where datname = $1 and pid <> pg_catalog.pg_backend_pid()"""
_CONTENT: Final = """\
select (select count(*) from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
          and not exists (select 1 from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'e'))
     + (select count(*) from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
          and not exists (select 1 from pg_catalog.pg_depend d where d.objid = p.oid and d.deptype = 'e'))
     + (select count(*) from pg_catalog.pg_largeobject_metadata)"""


@dataclass(frozen=True, slots=True)
class Restored:
    """A restored database.

    Args:
        database: its name.
        tables: rows by table.
        previous: the name under which a replaced database was kept; empty when there was none.
    """

    database: str
    tables: dict[str, int]
    previous: str = ""


async def restore(
    path: str | os.PathLike[str],
    url: str | Revealable,
    *,
    replace: bool = False,
    owners: bool = True,
    identity: str | Revealable | None = None,
    runtime: Runtime = SYSTEM,
) -> Restored:
    """Restore a backup as the database that `url` names.

    The backup is loaded into a new database beside it and counted; only then the names are swapped, in one
    transaction. Until then nothing of the target changes, and whatever fails leaves it as it was.

    Args:
        path: the backup: custom, plain or gzip, recognised by its content; encrypted or not.
        url: the database; it may be missing or empty. The role must be allowed to create databases.
        replace: also swap with a database that is not empty; the old one is kept as ``<name>_before_…``, and its
            sessions are ended.
        owners: set owners and privileges as they were, for which the roles must exist on this server. False: everything
            belongs to the role of `url`.
        identity: the private age key, for an encrypted backup.
        runtime: clock and events.

    Raises:
        BackupError: nothing was changed; the message says why.
    """
    began = runtime.clock.monotonic()
    file = Path(path)
    database = ""
    try:
        address = Address.of(url)
        database = address.database
        async with entered(file, identity) as source:
            restored = await _restore(source, address, replace, owners)
    except BackupError as error:
        if runtime.events.listened(BackupFailed):
            runtime.events.emit(BackupFailed(database=database, step="restore", error=str(error)))
        raise
    if runtime.events.listened(BackupRestored):
        took = runtime.clock.monotonic() - began
        runtime.events.emit(BackupRestored(database=database, file=file.name, took=took))
    return restored


async def _restore(source: Source, address: Address, replace: bool, owners: bool) -> Restored:
    admin = await connect(address.named("postgres"))
    try:
        major = int(admin.get_server_version().major)
        record = source.record
        if record is not None and record.server > major:
            raise BackupError(
                f"the backup is of PostgreSQL {record.server}, and the server is {major}: restore it to "
                f"{record.server} or newer"
            )
        exists = bool(await admin.fetchval(_EXISTS, address.database))
        filled = exists and await _is_filled(address)
        if filled and not replace:
            raise BackupError(
                f"the database {address.database!r} is not empty: restore to a new name, or swap with replace=True"
            )
        tools = await asyncio.to_thread(
            find_tools,
            max(major, source.tool or 0),
            tls=address.needs_tls,
            needs=("pg_restore", "psql"),
            newest=source.tool is None,
        )
        mark = secrets.token_hex(4)
        fresh = address.named(f"{address.database[:40]}_restore_{mark}")
        async with in_deadline("the restore"):  # up to here: the swap is done or not, whatever the time
            census = await load_and_count(source, fresh, tools, owners=owners, keep=True)
        try:
            require_same(source.path, record, census)
            previous = f"{address.database[:40]}_before_{mark}" if exists else ""
            await _swap(admin, fresh.database, address.database, previous, force=replace)
        except BaseException:
            await _quietly(admin, f"drop database if exists {_quoted(fresh.database)} with (force)")
            raise
        if previous and not filled:
            await _quietly(admin, f"drop database if exists {_quoted(previous)}")
            previous = ""
        return Restored(address.database, census.tables, previous)
    finally:
        admin.terminate()


async def _is_filled(address: Address) -> bool:
    connection = await connect(address)
    try:
        return bool(await connection.fetchval(_CONTENT))
    finally:
        connection.terminate()


async def _swap(admin: Any, fresh: str, target: str, previous: str, *, force: bool) -> None:
    try:
        if previous and force:
            await admin.fetch(_END_SESSIONS, target)
        async with admin.transaction():
            if previous:
                await admin.execute(f"alter database {_quoted(target)} rename to {_quoted(previous)}")
            await admin.execute(f"alter database {_quoted(fresh)} rename to {_quoted(target)}")
    except Exception as error:
        hint = ": it is in use" if getattr(error, "sqlstate", "") == "55006" else f": {error}"
        raise BackupError(f"the database {target!r} could not be swapped{hint}") from error


async def _quietly(admin: Any, statement: str) -> None:
    try:
        await asyncio.shield(admin.execute(statement, timeout=60))
    except Exception:  # noqa: BLE001 - the error that brought us here is the one to raise
        return


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
