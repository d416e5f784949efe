"""The background loop of the process: start resources on it, call coroutines on it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from prodkit.core import lifespan
from prodkit.core.deadline import Deadline
from prodkit.core.lifespan import Startable
from prodkit.core.portal import Portal
from prodkit.errors import RejectedError
from prodkit.policies.deadline_guard import within_deadline
from prodkit.sync.caller import CallerThread

__all__ = ["PORTAL", "NotRunningError", "Part", "call", "on_caller", "on_loop", "running"]

P = ParamSpec("P")
T = TypeVar("T")

PORTAL: Final = Portal("prodkit-sync")
"""The loop thread of this process, shared by everything in this package."""


class NotRunningError(RejectedError):
    """The part is not started in this process: it was never started, it is closed, or this is a fork of its process."""


class Part:
    """Base of the synchronous faces: the asynchronous part and the check that it runs in this process.

    Args:
        part: the asynchronous part.
        method: an asynchronous method that the part must have.
        wanted: the part in words, such as ``"a prodkit.cache.Cache"``.
    """

    def __init__(self, part: Any, method: str, wanted: str) -> None:
        if isinstance(part, Part | type) or not callable(getattr(part, method, None)):
            raise TypeError(f"sync.{type(self).__name__} takes {wanted}, got {part!r}")
        self._part = part

    async def start(self) -> None:
        """Start the part; called by :class:`running`."""
        await self._part.start()

    async def aclose(self) -> None:
        """Close the part; called by :class:`running`."""
        await self._part.aclose()


class running:  # noqa: N801 - the synchronous twin of prodkit.running
    """Start `resources` on the background loop, in order, and close them in reverse.

    ::

        with sync.running(db, redis, answers):
            ...

    ``start()`` and ``close()`` do the same where no block encloses the service, such as ``AppConfig.ready`` of Django
    or ``worker_process_init`` of Celery. A preforking server starts it in each worker, after the fork.

    Args:
        resources: parts of the kit, or the faces of this package around them.
        close_timeout: seconds that each resource may take to close; 10 by default.

    Raises:
        TypeError: a resource can be neither started nor entered.
    """

    def __init__(self, *resources: Startable, close_timeout: float = 10.0) -> None:
        lifespan.check_startable(resources, close_timeout)
        self._resources = resources
        self._close_timeout = close_timeout
        self._block: AbstractAsyncContextManager[None] | None = None
        self._pid = 0

    def start(self) -> Self:
        """Start the resources and return self.

        Raises:
            RuntimeError: they run already in this process.
        """
        if self._block is not None and self._pid == os.getpid():
            raise RuntimeError("sync.running is started already: close it first")
        self._block = lifespan.running(*self._resources, close_timeout=self._close_timeout)
        self._pid = os.getpid()
        with _lock:
            PORTAL.call(self._block.__aenter__)
            _started.update({id(_inner(each)): os.getpid() for each in self._resources})
        return self

    def close(self) -> None:
        """Close the resources in reverse order; does nothing when they are closed, or in a fork of their process."""
        self._leave(None, None, None)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(kind, error, trace)

    def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        block, self._block = self._block, None
        if block is None or self._pid != os.getpid():
            return
        for each in self._resources:
            _started.pop(id(_inner(each)), None)
        PORTAL.call(block.__aexit__, kind, error, trace)


_CLEAN_UP: Final = frozenset({"__aexit__", "aclose", "close"})
_lock = threading.Lock()
_started: dict[int, int] = {}
"""The process that started a part, by the part's identity: in a fork its sockets belong to the parent."""


def _inner(resource: object) -> object:
    return resource._part if isinstance(resource, Part) else resource


def call(fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run the coroutine function `fn` with `args` and `kwargs` on the background loop and return its result.

    ``sync.call(answers.get, key)`` is ``await answers.get(key)``. The deadline of the caller is in force there, and a
    ``KeyboardInterrupt`` cancels the call. A part ends its own call at the deadline; any other function is cancelled.

    Args:
        fn: an async function, such as a method of a part.
        args: its arguments.
        kwargs: its keyword arguments.

    Raises:
        DeadlineExceededError: the deadline passed.
        NotRunningError: `fn` is a method of a part that another process started.
        RuntimeError: called from the background loop itself.
        TypeError: `fn` is no async function.
    """
    given: object = fn
    if not callable(given):
        kind = type(given).__name__
        raise TypeError(
            f"sync.call takes a function and its arguments, as sync.call(answers.get, key); got a {kind}"
        )
    if Deadline.current() is None or _ends_itself(fn):
        return on_loop(fn, *args, **kwargs)
    require(getattr(fn, "__self__", None))

    async def until() -> T:
        result: T = await within_deadline(fn, args, kwargs)
        return result

    return PORTAL.call(until)


def on_loop(fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run the method `fn` of a part on the background loop; the part ends it at the deadline."""
    require(getattr(fn, "__self__", None))
    return PORTAL.call(fn, *args, **kwargs)


def _ends_itself(fn: Callable[..., object]) -> bool:
    """Return True for the methods of the kit, and for those that clean up and so must run after the deadline too."""
    part = getattr(fn, "__self__", None)
    return type(part).__module__.startswith("prodkit.") or getattr(fn, "__name__", "") in _CLEAN_UP


def on_caller(part: object, fn: Callable[[CallerThread], Coroutine[Any, Any, T]]) -> T:
    """Run ``fn(caller)`` on the background loop, where `caller` runs functions in the thread that waits here."""
    require(part)
    return CallerThread().wait(PORTAL, fn)


def require(part: object) -> None:
    """Raise :class:`NotRunningError` when `part` was started by the process that this one is a fork of."""
    pid = _started.get(id(part))
    if pid is not None and pid != os.getpid():
        raise NotRunningError(
            f"{type(part).__name__} was started in process {pid} before it forked into {os.getpid()}:"
            " enter sync.running in each worker process"
        )
