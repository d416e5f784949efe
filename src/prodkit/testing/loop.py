"""An event loop whose clock jumps: hours of timeouts, backoffs and open circuits in milliseconds.

When every task waits, the loop moves its clock to the next timer instead of sleeping. ``asyncio.sleep``,
``asyncio.timeout`` and every part of prodkit read that clock, so nothing needs to be patched. Runs are
deterministic: the same timers fire in the same order.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, overload

__all__ = ["VirtualTimeLoop", "virtual_time"]

P = ParamSpec("P")
T = TypeVar("T")

_GRACE = (
    5.0  # real seconds to wait for a foreign thread before the loop says that nothing can happen any more
)
_SLICE = 0.01


class _JumpingSelector(selectors.DefaultSelector):
    """Moves the clock of its loop where a real selector would sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.busy_threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.busy_threads:
            return super().select(_SLICE)  # time stands still while a thread works for us
        if timeout is not None:
            self.now += timeout
            return []
        ready = super().select(_GRACE)
        if not ready:
            raise RuntimeError("virtual time stands still: every task waits for something that never happens")
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on virtual time, starting at 0.0.

    Threads started with ``asyncio.to_thread`` are waited for: the clock stands still while one runs. Sockets to
    other processes are not: what they answer later than now never happens on this loop.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run `func` with `args` in `executor`; the clock stands still until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.busy_threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Join the threads of ``asyncio.to_thread``; the clock stands still, so `timeout` cannot pass."""
        self._jumping.busy_threads += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._jumping.busy_threads -= 1

    def _thread_done(self, _: object) -> None:
        self._jumping.busy_threads -= 1


@overload
def virtual_time() -> asyncio.Runner: ...
@overload
def virtual_time(work: Coroutine[Any, Any, T]) -> T: ...
@overload
def virtual_time(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]: ...


def virtual_time(work: Any = None) -> Any:
    """Run `work` on a :class:`VirtualTimeLoop`.

    Three forms, one meaning::

        result = virtual_time(main())          # run a coroutine, like asyncio.run

        @virtual_time                          # make an async test an ordinary one
        async def test_waits_an_hour(): ...

        with virtual_time() as runner:         # several runs on one loop
            runner.run(first())
    """
    if work is None:
        return asyncio.Runner(loop_factory=VirtualTimeLoop)
    if inspect.iscoroutine(work):
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            return runner.run(work)
    if not inspect.iscoroutinefunction(work):
        raise TypeError(f"virtual_time takes a coroutine or an async function, got {work!r}")

    @functools.wraps(work)
    def on_virtual_time(*args: Any, **kwargs: Any) -> Any:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            return runner.run(work(*args, **kwargs))

    return on_virtual_time
