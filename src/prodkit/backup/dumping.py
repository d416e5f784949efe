"""Make a backup: consistent, complete, and published only when it was read back."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from prodkit.backup.address import Address
from prodkit.backup.census import Census, take
from prodkit.backup.events import BackupFailed, BackupMade
from prodkit.backup.locking import check_room, exclusive
from prodkit.backup.manifest import Backup, list_backups, sync_directory, write
from prodkit.backup.process import in_deadline, in_thread
from prodkit.backup.pump import Written, pump
from prodkit.backup.tools import Tools, find_tools
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable
from prodkit.core.validate import Arguments
from prodkit.errors import BackupError, MissingExtraError
from prodkit.postgres.address import for_driver, parse

__all__ = ["connect", "dump"]

_PARTIAL: Final = ".partial"
_MARGIN: Final = 16 * 2**20


async def dump(
    url: str | Revealable,
    directory: str | os.PathLike[str],
    *,
    recipients: Sequence[str] = (),
    compression: int = 6,
    lock_wait: float = 30.0,
    progress: Callable[[int], object] | None = None,
    runtime: Runtime = SYSTEM,
) -> Backup:
    """Back up one database into a new file of `directory`.

    The file appears under its name only when pg_dump has succeeded, pg_restore has read all of it, and it is on the
    disk; its record (``.json``) holds the hash and the row counts of the same snapshot, for :func:`verify`. Files have
    mode 0600. Roles and tablespaces of the server are not part of a dump.

    Args:
        url: the database; a role that may read everything in it. Not through a transaction pooler.
        directory: where backups are kept; made with mode 0700 when it is missing.
        recipients: public age keys (``age1…``) that the file is encrypted for; empty: not encrypted.
        compression: gzip's level, 0 to 9.
        lock_wait: seconds that pg_dump waits for a lock on a table before it gives up, so that it does not stand in the
            way of others behind it.
        progress: called with the bytes written so far, from another thread.
        runtime: clock and events.

    Raises:
        BackupError: nothing was published; the message says why.
    """
    check = Arguments("dump")
    check.instance("url", url, (str, Revealable), "an address")
    check.integer("compression", compression, minimum=0, maximum=9)
    check.seconds("lock_wait", lock_wait)
    check.function("progress", progress, optional=True)
    check.instance("recipients", recipients, Sequence, "a list of keys")
    check.that(not isinstance(recipients, str), "recipients must be a list of keys, not one text")
    check.done()
    database = ""
    try:
        address = Address.of(url)
        database = address.database
        place = Path(directory)
        with exclusive(place):
            _sweep(place)
            async with in_deadline("the backup"):
                backup = await _dump(
                    address, place, list(recipients), compression, lock_wait, progress, runtime
                )
    except BackupError as error:
        if runtime.events.listened(BackupFailed):
            runtime.events.emit(BackupFailed(database=database, step="dump", error=str(error)))
        raise
    if runtime.events.listened(BackupMade):
        runtime.events.emit(
            BackupMade(database=database, file=backup.path.name, size=backup.size, took=backup.took)
        )
    return backup


async def _dump(
    address: Address,
    place: Path,
    recipients: list[str],
    compression: int,
    lock_wait: float,
    progress: Callable[[int], object] | None,
    runtime: Runtime,
) -> Backup:
    began = runtime.clock.monotonic()
    connection = await connect(address)
    try:
        major = int(connection.get_server_version().major)
        tools = await asyncio.to_thread(find_tools, major, tls=address.needs_tls)
        check_room(place, await _expected(connection, place, address.database))
        # The counts and pg_dump see one snapshot, which lives as long as this transaction.
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        snapshot = await connection.fetchval("select pg_catalog.pg_export_snapshot()")
        created_at = await connection.fetchval("select pg_catalog.now()")
        name = _name(address.database, created_at) + (".dump.age" if recipients else ".dump")
        partial = place / f"{name}{_PARTIAL}"
        command = [
            tools.path("pg_dump"),
            "--format=custom",
            f"--compress={compression}",
            "--no-password",
            f"--lock-wait-timeout={int(lock_wait * 1000)}",
            f"--snapshot={snapshot}",
        ]
        writing = asyncio.ensure_future(
            _write(command, tools, address, partial, recipients=recipients, progress=progress)
        )
        try:
            census = await _while_writing(writing, connection)
            written = await writing
        except BaseException:
            if not writing.done():
                writing.cancel()
                with suppress(BaseException):
                    await writing
            partial.unlink(missing_ok=True)  # it was written whole, and the counts were not
            raise
    except (BackupError, MissingExtraError):
        raise
    except Exception as error:
        raise BackupError(
            f"the backup failed: {type(error).__name__}: {address.clean(str(error))}"
        ) from error
    finally:
        connection.terminate()
    backup = Backup(
        path=place / name,
        database=address.database,
        created_at=created_at,
        size=written.size,
        sha256=written.sha256,
        server=major,
        tool=tools.major,
        encrypted=bool(recipients),
        census=census,
        took=runtime.clock.monotonic() - began,
    )
    try:
        partial.rename(backup.path)
        sync_directory(place)
        write(backup)
    except OSError as error:
        partial.unlink(missing_ok=True)
        backup.path.unlink(missing_ok=True)
        raise BackupError(f"{place} cannot be written: {error.strerror}") from error
    return backup


async def _while_writing(writing: asyncio.Future[Written], connection: Any) -> Census:
    """Count while pg_dump writes; an error of pg_dump comes first, because it says more."""
    counting = asyncio.ensure_future(take(connection))
    try:
        await asyncio.wait((counting, writing), return_when=asyncio.FIRST_EXCEPTION)
        if writing.done():
            writing.result()
        return await counting
    finally:
        counting.cancel()
        with suppress(BaseException):
            await counting


async def _write(
    command: Sequence[str],
    tools: Tools,
    address: Address,
    partial: Path,
    *,
    recipients: Sequence[str],
    progress: Callable[[int], object] | None,
) -> Written:
    reading = [tools.path("pg_restore"), "--file=/dev/null"]
    with address.environment() as environment:
        return await in_thread(
            lambda stop: pump(
                command,
                reading,
                environment,
                address,
                partial,
                recipients=recipients,
                stop=stop,
                progress=progress,
            )
        )


async def connect(address: Address) -> Any:
    """Open a connection to the database of an address.

    Args:
        address: where.

    Raises:
        BackupError: it cannot be reached, or refuses us.
    """
    try:
        import asyncpg
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise MissingExtraError.named("asyncpg", "backup") from None
    if problem := parse(address.url).problem:
        raise BackupError(f"the address of the database cannot be used: {problem}")
    try:
        return await asyncpg.connect(
            for_driver(address.url),
            timeout=10.0,
            statement_cache_size=0,
            server_settings={"application_name": "prodkit-backup"},
        )
    except (ValueError, asyncpg.ClientConfigurationError):
        raise BackupError(
            "the address of the database cannot be used: check it with env.PostgresUrl"
        ) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        said = address.clean(str(error).partition("\n")[0])
        raise BackupError(
            f"the database {address.database!r} could not be reached: {type(error).__name__}: {said}"
        ) from error


async def _expected(connection: Any, place: Path, database: str) -> int:
    """Bytes that the backup may need: half more than the last one, or as much as the database itself."""
    last = next((each for each in list_backups(place) if each.database == database), None)
    if last is not None:
        return last.size * 3 // 2 + _MARGIN
    return int(await connection.fetchval("select pg_catalog.pg_database_size(current_database())")) + _MARGIN


def _name(database: str, created_at: datetime) -> str:
    stamp = created_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', database)[:80]}-{stamp}-{secrets.token_hex(3)}"


def _sweep(place: Path) -> None:
    """Remove what an earlier run left when its process was killed; we hold the lock, so no run is using it."""
    for path in place.glob(f"*{_PARTIAL}"):
        path.unlink(missing_ok=True)
