"""One background event loop in a thread, for synchronous code that uses asynchronous parts.

The loop starts with the first call, ends with :meth:`Portal.close` or with the process, and is made again in a forked
child. Deadlines cross over: the context variables of the calling thread are those of the coroutine.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec, TypeVar

__all__ = ["Portal"]

P = ParamSpec("P")
T = TypeVar("T")


class Portal:
    """Runs coroutines on a loop of its own and waits for their results from other threads.

    Args:
        name: of the thread, shown by debuggers.
    """

    def __init__(self, name: str = "prodkit") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid: int = 0
        _portals.add(self)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop; started when there is none, or when this process is a fork of the one that had it."""
        loop = self._loop
        if loop is not None and self._pid == os.getpid() and loop.is_running():
            return loop
        with self._lock:
            return self._start()

    def call(self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(*args, **kwargs)`` on the loop and return its result; its exception is raised here.

        When the waiting thread is interrupted (``KeyboardInterrupt``), the coroutine is cancelled and awaited.

        Raises:
            RuntimeError: called from the loop's own thread, which would wait for itself.
        """
        future = self.submit(fn, *args, **kwargs)
        try:
            return future.result()
        except BaseException:
            # a result of its own, or an interrupt while waiting: only the latter leaves work to cancel
            if not future.done():
                future.cancel()
            raise

    def submit(
        self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]:
        """Start ``fn(*args, **kwargs)`` on the loop and return its future; cancelling the future cancels the task."""
        if threading.current_thread() is self._thread and self._pid == os.getpid():
            raise RuntimeError("the portal cannot be called from its own loop: await the coroutine instead")
        # call_soon_threadsafe copies the context of this thread, so the Deadline in force here is in force there.
        coroutine = fn(*args, **kwargs)
        if not asyncio.iscoroutine(coroutine):
            raise TypeError(f"the portal runs async functions; {fn!r} returned {type(coroutine).__name__}")
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def close(self) -> None:
        """Cancel what still runs, stop the loop and join its thread; a later call starts a new one."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
            if loop is None or thread is None or self._pid != os.getpid():
                return
        if loop.is_running():
            loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join()
        atexit.unregister(self.close)

    def _start(self) -> asyncio.AbstractEventLoop:
        if self._loop is not None and self._pid == os.getpid() and self._loop.is_running():
            return self._loop
        loop = asyncio.new_event_loop()
        ready = threading.Event()

        def serve() -> None:
            asyncio.set_event_loop(loop)
            loop.call_soon(ready.set)
            try:
                loop.run_forever()
            finally:
                _drain(loop)

        thread = threading.Thread(target=serve, name=self._name, daemon=True)
        thread.start()
        ready.wait()
        self._loop, self._thread, self._pid = loop, thread, os.getpid()
        atexit.register(self.close)
        return loop


_portals: Final[weakref.WeakSet[Portal]] = weakref.WeakSet()


def _after_fork() -> None:
    """In a forked child no thread of ours runs, and another thread may have held a lock at that instant."""
    for portal in _portals:
        portal._lock = threading.Lock()
        portal._loop = portal._thread = None


os.register_at_fork(after_in_child=_after_fork)


def _drain(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the remaining tasks, let them end, and close the loop."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
