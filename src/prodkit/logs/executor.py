"""A thread pool whose work keeps the context of who hands it in: fields of the log, request id, deadline."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

__all__ = ["ContextExecutor"]

P = ParamSpec("P")
T = TypeVar("T")


class ContextExecutor(ThreadPoolExecutor):
    """A ``ThreadPoolExecutor`` for ``loop.run_in_executor``, which does not carry contextvars by itself.

    ::

        asyncio.get_running_loop().set_default_executor(logs.ContextExecutor())

    ``asyncio.to_thread`` carries them anyway; it stays the simpler way where the code is yours.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` in a thread, in a copy of the caller's context.

        Args:
            fn: the function.
            args: its arguments.
            kwargs: its named arguments.
        """
        return super().submit(partial(contextvars.copy_context().run, fn, *args, **kwargs))
