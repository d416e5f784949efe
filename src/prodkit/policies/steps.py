"""Steps that are written once, as coroutines, for synchronous code too: callbacks in them may be sync or async."""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["drive", "settled"]

T = TypeVar("T")


def drive(steps: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, for synchronous shells.

    Raises:
        TypeError: it suspended: a strategy or callback is async.
    """
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    steps.close()
    raise TypeError(
        "an async strategy or callback cannot be awaited in synchronous code: use run, or `async for`"
    )


async def settled(value: Any) -> Any:
    """Return `value`, awaited if it is awaitable."""
    return await value if inspect.isawaitable(value) else value
