"""Verify a backup by the only proof there is: restore it, and count."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prodkit.backup.address import Address
from prodkit.backup.census import Census, take
from prodkit.backup.dumping import connect
from prodkit.backup.events import BackupFailed, BackupVerified
from prodkit.backup.load import load
from prodkit.backup.manifest import Backup, read, write
from prodkit.backup.process import in_deadline
from prodkit.backup.scratch import scratch_server
from prodkit.backup.source import Source, opened
from prodkit.backup.tools import Tools, find_tools
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable
from prodkit.errors import BackupError

__all__ = ["entered", "load_and_count", "require_same", "verify"]


async def verify(
    path: str | os.PathLike[str],
    *,
    url: str | Revealable | None = None,
    identity: str | Revealable | None = None,
    runtime: Runtime = SYSTEM,
) -> Backup:
    """Restore a backup into a throw-away database, compare its counts, and note that in its record.

    Args:
        path: the backup; also one of another origin, plain or gzip, whose counts are then only reported.
        url: a server with room and the right to create databases; a database ``prodkit_verify_…`` is made there and
            dropped. None: a server of our own, for which ``initdb`` and ``postgres`` must be installed.
        identity: the private age key, for an encrypted backup.
        runtime: clock and events.

    Raises:
        BackupError: it cannot be restored, or something is missing in what was restored.
    """
    file = Path(path)
    database = ""
    began = runtime.clock.monotonic()
    try:
        async with in_deadline("the verification"), entered(file, identity) as source:
            record = source.record
            database = record.database if record is not None else ""
            census = await (_there(source, url) if url is not None else _here(source))
        require_same(file, record, census)
    except BackupError as error:
        if runtime.events.listened(BackupFailed):
            runtime.events.emit(BackupFailed(database=database, step="verify", error=str(error)))
        raise
    now = runtime.clock.now()
    if record is None:
        verified = _foreign(file, census, now)
    else:
        verified = replace(record, verified_at=now)
        await asyncio.to_thread(_note, verified)
    if runtime.events.listened(BackupVerified):
        took = runtime.clock.monotonic() - began
        runtime.events.emit(
            BackupVerified(database=database, file=file.name, tables=len(census.tables), took=took)
        )
    return verified


def require_same(file: Path, record: Backup | None, census: Census) -> None:
    """Compare a restored copy with the record.

    Args:
        file: the backup.
        record: its record, or None.
        census: counts of the copy.

    Raises:
        BackupError: a count differs.
    """
    if record is not None and (differences := record.census.differences(census)):
        raise BackupError(f"{file.name} restores to something else: {'; '.join(differences[:5])}")


def _foreign(file: Path, census: Census, now: datetime) -> Backup:
    """Describe a file that has no record."""
    found = file.stat()
    created = datetime.fromtimestamp(found.st_mtime, UTC)
    return Backup(file, "", created, found.st_size, census=census, verified_at=now)


def _note(verified: Backup) -> None:
    with suppress(OSError):  # a read-only copy is verified all the same
        if read(verified.path) is not None:
            write(verified)


@asynccontextmanager
async def entered(file: Path, identity: str | Revealable | None) -> AsyncIterator[Source]:
    """Open a backup in a thread: hashing and decrypting take their time.

    Args:
        file: the backup.
        identity: the private age key.
    """
    stack = ExitStack()
    try:
        yield await asyncio.to_thread(stack.enter_context, opened(file, identity))
    finally:
        await asyncio.to_thread(stack.close)


async def _here(source: Source) -> Census:
    tools = await asyncio.to_thread(
        find_tools,
        source.tool or 0,
        needs=("pg_restore", "psql", "initdb", "postgres"),
        newest=source.tool is None,
    )
    async with scratch_server(tools) as address:
        return await load_and_count(source, address.named("verify"), tools, owners=False)


async def _there(source: Source, url: str | Revealable) -> Census:
    address = Address.of(url)
    connection = await connect(address)
    try:
        major = int(connection.get_server_version().major)
    finally:
        connection.terminate()
    tools = await asyncio.to_thread(
        find_tools,
        max(major, source.tool or 0),
        tls=address.needs_tls,
        needs=("pg_restore", "psql"),
        newest=source.tool is None,
    )
    return await load_and_count(
        source, address.named(f"prodkit_verify_{secrets.token_hex(6)}"), tools, owners=False
    )


async def load_and_count(
    source: Source, address: Address, tools: Tools, *, owners: bool, keep: bool = False
) -> Census:
    """Create a database, load the backup and count it.

    Args:
        source: the backup.
        address: the database to create.
        tools: the programs.
        owners: set owners and privileges.
        keep: leave the database there when everything went well.

    Raises:
        BackupError: something failed; the database is gone.
    """
    admin = await connect(address.named("postgres"))
    name = '"' + address.database.replace('"', '""') + '"'
    done = False
    try:
        await _ask(admin, f"create database {name} template template0", address)
        try:
            await load(source, address, tools, owners=owners)
            connection = await connect(address)
            try:
                census = await take(connection)
            finally:
                connection.terminate()
            done = True
            return census
        finally:
            if not (done and keep):
                await _drop(address, name)
    finally:
        admin.terminate()


async def _ask(connection: Any, statement: str, address: Address) -> None:
    try:
        await connection.execute(statement, timeout=300)
    except Exception as error:
        raise BackupError(f"{address.clean(str(error))}") from error


async def _drop(address: Address, name: str) -> None:
    """Drop the throw-away database, also when our caller is being cancelled."""

    async def drop() -> None:
        with suppress(Exception):
            admin = await connect(address.named("postgres"))
            try:
                await admin.execute(f"drop database if exists {name} with (force)", timeout=60)
            finally:
                admin.terminate()

    task = asyncio.ensure_future(drop())
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.done():
                raise
            await asyncio.wait((task,))
            raise
