"""Single flight: many callers, one load, and no caller can take it away from the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, Generic, TypeVar

from prodkit.core.deadline import Deadline
from prodkit.errors import CallTimeoutError, DeadlineExceededError, UnavailableError

__all__ = ["Flight", "Flights"]

T = TypeVar("T")

_loading: Final[ContextVar[tuple[Flight[Any], ...]]] = ContextVar("prodkit_cache_loading", default=())


class Flight(Generic[T]):
    """One load in flight. It is `superseded` when its key was invalidated after it began.

    Args:
        tags: of the value that it loads.
        keep: continue when no caller waits any more, as a refresh in the background does.
    """

    __slots__ = ("keep", "loaded", "superseded", "tags", "task", "waiters", "waits_for")

    task: asyncio.Task[T]

    def __init__(self, tags: frozenset[str], keep: bool) -> None:
        self.tags: frozenset[str] = tags
        self.keep: bool = keep
        self.waiters: int = 0
        self.superseded: bool = False
        self.loaded: bool = False  # the value was computed here, not found in Redis
        self.waits_for: list[Flight[Any]] = []


class Flights(Generic[T]):
    """The loads in flight, by key.

    A load runs in a task of its own, with the context of its first caller but without that caller's Deadline: each
    caller waits no longer than its own. A caller that is cancelled leaves; when the last one has left, the load is
    cancelled. A load of another event loop (one that has ended) is not joined.
    """

    __slots__ = ("_flights",)

    def __init__(self) -> None:
        self._flights: dict[str, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def find(self, key: str) -> Flight[T] | None:
        """Return the load of `key` in flight on this loop.

        Args:
            key: the key.
        """
        flight = self._flights.get(key)
        if flight is None or flight.task.get_loop() is not asyncio.get_running_loop():
            return None
        return flight

    def begin(
        self,
        key: str,
        work: Callable[[Flight[T]], Awaitable[T]],
        *,
        tags: frozenset[str] = frozenset(),
        keep: bool = False,
    ) -> Flight[T]:
        """Start `work` for `key`. There must be none in flight.

        Args:
            key: the key.
            work: takes the flight and returns the value.
            tags: of the value.
            keep: continue without callers.
        """
        flight: Flight[T] = Flight(tags, keep)

        async def run() -> T:
            _loading.set((*_loading.get(), flight))
            try:
                return await work(flight)
            finally:
                if self._flights.get(key) is flight:  # by identity: a newer load may have replaced it
                    del self._flights[key]

        with Deadline.detached():
            flight.task = asyncio.ensure_future(run())
        flight.task.add_done_callback(_consume_error)
        self._flights[key] = flight
        return flight

    async def join(self, key: str, flight: Flight[T], timeout: float | None = None) -> T:
        """Wait for `flight` until the caller's Deadline, and return its value.

        Args:
            key: the key.
            flight: from :meth:`find` or :meth:`begin`.
            timeout: seconds that this caller waits at most; the load then continues.

        Raises:
            CallTimeoutError: `timeout` passed first.
            DeadlineExceededError: the caller's Deadline passed first.
            UnavailableError: the load was cancelled from inside.
            RuntimeError: the load waits, directly or through others, for itself.
            Exception: the load's own.
        """
        chain = _loading.get()
        if chain and _reaches(flight, chain):
            raise RuntimeError(f"the load of {key!r} asks for {key!r} itself and would wait for ever")
        task = flight.task
        flight.waiters += 1
        for each in chain:
            each.waits_for.append(flight)
        limit = Deadline.sooner(timeout)
        hurried = timeout is not None and limit == timeout
        try:
            if not task.done():
                await asyncio.wait((task,), timeout=limit)
        finally:
            for each in chain:
                each.waits_for.remove(flight)
            flight.waiters -= 1
            if hurried and not task.done():
                flight.keep = True
            if not task.done() and not flight.waiters and not flight.keep:
                if self._flights.get(key) is flight:
                    del self._flights[key]  # later callers start another
                task.cancel()
        if not task.done():
            if hurried:
                raise CallTimeoutError(
                    f"loading a value took more than {timeout} s; it continues", timeout=timeout
                )
            raise DeadlineExceededError("the deadline passed while a value for the cache was loaded")
        if task.cancelled():
            raise UnavailableError("the load of a value for the cache was cancelled from inside")
        return task.result()

    def supersede(self, which: Callable[[str, Flight[T]], bool]) -> None:
        """Keep loads from being stored; they keep their callers, and later callers start another.

        Args:
            which: takes key and flight.
        """
        for key, flight in tuple(self._flights.items()):
            if which(key, flight):
                flight.superseded = True
                del self._flights[key]

    def supersede_key(self, key: str) -> None:
        """Keep the load of `key` from being stored.

        Args:
            key: the key.
        """
        flight = self._flights.pop(key, None)
        if flight is not None:
            flight.superseded = True

    async def aclose(self) -> None:
        """Cancel the loads in flight and wait for their end."""
        loop = asyncio.get_running_loop()
        tasks = [flight.task for flight in self._flights.values() if flight.task.get_loop() is loop]
        self._flights.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reaches(flight: Flight[Any], chain: tuple[Flight[Any], ...]) -> bool:
    """Return whether `flight` waits for one of `chain`, directly or through others: A ─▶ B ─▶ A."""
    seen: set[int] = set()
    todo = [flight]
    while todo:
        each = todo.pop()
        if any(each is mine for mine in chain):
            return True
        if id(each) not in seen:
            seen.add(id(each))
            todo += each.waits_for
    return False


def _consume_error(task: asyncio.Task[Any]) -> None:
    """Take note of an error that no caller was left to receive, so that asyncio does not report it."""
    if not task.cancelled():
        task.exception()
