"""Brings the database up to date: one process migrates, the others wait for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from advisory.migrations import HEAD
from prodkit.core.secrets import Revealable, reveal
from prodkit.postgres import advisory_lock

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["is_current", "migrate"]


async def migrate(dsn: str | Revealable, *, timeout: float = 60.0) -> bool:
    """True when there was something to do. Alembic is imported only then.

    The lock is held on a direct connection of its own: behind a transaction pooler it would not hold at all.
    Raises CallTimeoutError when another process holds it for longer than `timeout` seconds.
    """
    lock = await asyncpg.connect(reveal(dsn), timeout=10.0)
    try:
        if await _current(lock) == HEAD:
            return False
        async with advisory_lock(lock, "advisory migrations", timeout=timeout):
            if await _current(lock) == HEAD:
                return False
            await _upgrade(reveal(dsn))
            return True
    finally:
        await lock.close()


async def is_current(dsn: str | Revealable) -> bool:
    """Return True when the database has the schema of this code. Raises OSError when it is unreachable."""
    connection = await asyncpg.connect(reveal(dsn), timeout=10.0)
    try:
        return await _current(connection) == HEAD
    finally:
        await connection.close()


async def _current(connection: asyncpg.Connection) -> str | None:
    if await connection.fetchval("select to_regclass('alembic_version') is null"):
        return None
    found: str | None = await connection.fetchval("select version_num from alembic_version")
    return found


async def _upgrade(dsn: str) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    # The driver gets the address itself: SQLAlchemy's own parser reads some passwords and options otherwise.
    engine = create_async_engine(
        "postgresql+asyncpg://", poolclass=NullPool, async_creator=lambda: asyncpg.connect(dsn, timeout=10.0)
    )
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))

    def run(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
            await connection.commit()
    finally:
        await engine.dispose()
