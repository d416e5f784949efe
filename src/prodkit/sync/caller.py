"""Run functions in the thread that waits for a coroutine.

A loader of a cache is an ordinary function of synchronous code. It may use what belongs to its thread: a database
connection of Django, a request of Flask. So it runs in the thread that called the cache, not on the loop, which it
would block, nor in a pool's thread, where those are missing.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from prodkit.core.portal import Portal

__all__ = ["CallerThread"]

T = TypeVar("T")


class CallerThread:
    """The waiting thread as the loop sees it."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waits = True

    def wait(self, portal: Portal, fn: Callable[[CallerThread], Coroutine[Any, Any, T]]) -> T:
        """Run ``fn(self)`` on the loop of `portal`; until it ends, run here what the loop asks for."""
        future = portal.submit(fn, self)
        future.add_done_callback(lambda _: self._work.put(None))
        try:
            while (work := self._work.get()) is not None:
                work()
        except BaseException:
            future.cancel()
            raise
        finally:
            with self._lock:
                self._waits = False
        while not self._work.empty():  # asked for between the end and now: its background task still waits
            late = self._work.get()
            if late is not None:
                portal.loop.call_soon_threadsafe(portal.loop.run_in_executor, None, late)
        return future.result()

    async def run(self, fn: Callable[[], T]) -> T:
        """Run ``fn()`` in the waiting thread and return its result; in a thread of the loop once it has left.

        A background refresh outlives the call that began it; it has no other thread to run in.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                result = fn()
            except Exception as error:  # noqa: BLE001 - it belongs to the coroutine that asked
                loop.call_soon_threadsafe(_settle, done, None, error)
            except BaseException:
                loop.call_soon_threadsafe(done.cancel)
                raise
            else:
                loop.call_soon_threadsafe(_settle, done, result, None)

        with self._lock:
            if self._waits:
                self._work.put(work)
            else:
                loop.run_in_executor(None, work)
        return await done


def _settle(done: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(result)
    elif isinstance(error, StopIteration):  # a future refuses it
        done.set_exception(RuntimeError("the function raised StopIteration"))
    else:
        done.set_exception(error)
