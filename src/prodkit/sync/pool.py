"""The PostgreSQL pool for synchronous code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prodkit import postgres as asynchronous
from prodkit.sync.service import Part, on_loop

__all__ = ["Pool", "Transaction"]


class Transaction:
    """One connection inside a transaction, for synchronous code. Made by :meth:`Pool.transaction`.

    Args:
        connection: the connection of the asynchronous transaction.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Any]:
        """Return the rows of `query` with `args`, within `timeout` seconds."""
        return list(on_loop(self._connection.fetch, query, *args, timeout=timeout))

    def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Any:
        """Return the first row of `query` with `args`, or None, within `timeout` seconds."""
        return on_loop(self._connection.fetchrow, query, *args, timeout=timeout)

    def fetchval(self, query: str, *args: object, timeout: float | None = None) -> Any:
        """Return the first column of the first row of `query` with `args`, within `timeout` seconds."""
        return on_loop(self._connection.fetchval, query, *args, timeout=timeout)

    def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Run `query` with `args` and return its status, such as ``INSERT 0 1``, within `timeout` seconds."""
        return str(on_loop(self._connection.execute, query, *args, timeout=timeout))


class Pool(Part):
    """A :class:`prodkit.postgres.Pool` for threads.

    ::

        db = sync.Pool(postgres.Pool(url))
        with sync.running(db):
            rows = db.fetch("select …")
            with db.transaction() as tx:
                tx.execute("insert …")

    Args:
        pool: the asynchronous pool.
    """

    def __init__(self, pool: asynchronous.Pool) -> None:
        super().__init__(pool, "fetchrow", "a prodkit.postgres.Pool")
        self._pool = pool

    def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Any]:
        """Return the rows of `query` with `args`, within `timeout` seconds."""
        return list(on_loop(self._pool.fetch, query, *args, timeout=timeout))

    def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Any:
        """Return the first row of `query` with `args`, or None, within `timeout` seconds."""
        return on_loop(self._pool.fetchrow, query, *args, timeout=timeout)

    def fetchval(self, query: str, *args: object, column: int = 0, timeout: float | None = None) -> Any:
        """Return the value in `column` of the first row of `query` with `args`, within `timeout` seconds."""
        return on_loop(self._pool.fetchval, query, *args, column=column, timeout=timeout)

    def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Run `query` with `args` and return its status, such as ``INSERT 0 1``, within `timeout` seconds."""
        return on_loop(self._pool.execute, query, *args, timeout=timeout)

    def executemany(self, query: str, args: Iterable[Any], *, timeout: float | None = None) -> None:
        """Run `query` for each sequence in `args`, all of them or none, within `timeout` seconds."""
        on_loop(self._pool.executemany, query, args, timeout=timeout)

    @contextmanager
    def transaction(self, **options: Any) -> Iterator[Transaction]:
        """Open a transaction: committed at the end of the block, rolled back when it raises.

        Args:
            options: those of :meth:`prodkit.postgres.Pool.transaction`, such as ``isolation="serializable"``.
        """
        block = self._pool.transaction(**options)
        connection = on_loop(block.__aenter__)
        try:
            yield Transaction(connection)
        except BaseException as error:
            if not on_loop(block.__aexit__, type(error), error, error.__traceback__):
                raise
        else:
            on_loop(block.__aexit__, None, None, None)

    def __repr__(self) -> str:
        return f"sync.{self._pool!r}"
