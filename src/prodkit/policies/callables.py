"""Type aliases of the callables that policies guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

__all__ = ["AsyncFn", "StreamFn", "SyncFn"]

AsyncFn: TypeAlias = Callable[..., Awaitable[Any]]
SyncFn: TypeAlias = Callable[..., Any]
StreamFn: TypeAlias = Callable[..., AsyncIterator[Any]]
