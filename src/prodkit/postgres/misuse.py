"""Mistakes in the use of a pool. Code written for asyncpg's pool catches them as its ``InterfaceError``."""

from __future__ import annotations

import asyncpg

__all__ = ["ForeignConnectionError", "NoConnectionError", "PoolStateError"]


class PoolStateError(asyncpg.InterfaceError, RuntimeError):
    """The pool is not started, is starting, has been started before, or was started before a fork."""


class ForeignConnectionError(asyncpg.InterfaceError, ValueError):
    """The connection was borrowed from another pool."""


class NoConnectionError(asyncpg.InterfaceError, TypeError):
    """The value is no connection that ``acquire()`` returned."""
