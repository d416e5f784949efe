"""SQLAlchemy's async engine over the kit's pool: its waits, limits, deadlines and health, and your models unchanged."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from prodkit import postgres

__all__ = ["engine_over"]


class _Lent:
    """A lent connection that goes back to its pool where SQLAlchemy would close it."""

    def __init__(self, pool: postgres.Pool, connection: Any) -> None:
        self._pool = pool
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def close(self, **_: Any) -> None:
        await self._pool.release(self._connection)

    def terminate(self) -> None:
        self._connection.terminate()


def engine_over(pool: postgres.Pool, **options: Any) -> AsyncEngine:
    """Return an async engine that borrows its connections from `pool`.

    Give it a pool of its own, made with ``json=False``: SQLAlchemy brings codecs of its own for json and jsonb.

    Args:
        pool: a started pool.
        options: those of ``create_async_engine``, such as ``echo=True``.
    """

    async def borrow() -> Any:
        return _Lent(pool, await pool.acquire())

    return create_async_engine("postgresql+asyncpg://", async_creator=borrow, poolclass=NullPool, **options)
