"""Single flight: many callers, one load, and no caller can take it away from the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, Generic, TypeVar

from prodkit.core.deadline import Deadline
from prodkit.errors import DeadlineExceededError, UnavailableError

__all__ = ["Flight", "Flights"]

T = TypeVar("T")

_loading: Final[ContextVar[tuple[Flight[Any], ...]]] = ContextVar("prodkit_cache_loading", default=())


class Flight(Generic[T]):
    """One load under way. `overtaken` when what it loads was invalidated after it began."""

    __slots__ = ("keep", "overtaken", "tags", "task", "waiters")

    task: asyncio.Task[T]

    def __init__(self, tags: frozenset[str], keep: bool) -> None:
        self.tags = tags
        self.keep = keep  # goes on when nobody waits: a refresh in the background
        self.waiters = 0
        self.overtaken = False


class Flights(Generic[T]):
    """The loads under way, by key.

    A load runs in a task of its own, with the context of its first caller but without that caller's
    Deadline: each caller waits no longer than its own. A caller that is cancelled leaves; when the last one
    has left, the load is cancelled.
    """

    __slots__ = ("_flights",)

    def __init__(self) -> None:
        self._flights: dict[str, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def find(self, key: str) -> Flight[T] | None:
        return self._flights.get(key)

    def begin(
        self,
        key: str,
        work: Callable[[Flight[T]], Awaitable[T]],
        *,
        tags: frozenset[str] = frozenset(),
        keep: bool = False,
    ) -> Flight[T]:
        """Starts `work` for `key`. There must be none under way."""
        flight: Flight[T] = Flight(tags, keep)

        async def run() -> T:
            _loading.set((*_loading.get(), flight))
            try:
                return await work(flight)
            finally:
                if self._flights.get(key) is flight:  # by identity: a newer load may have taken the place
                    del self._flights[key]

        with Deadline.detached():
            flight.task = asyncio.ensure_future(run())
        flight.task.add_done_callback(_look_at)
        self._flights[key] = flight
        return flight

    async def join(self, key: str, flight: Flight[T]) -> T:
        """Waits for `flight` until the caller's Deadline.

        Raises whatever the load raises; UnavailableError when the load was cancelled from inside;
        RuntimeError when the load waits for itself.
        """
        if flight in _loading.get():
            raise RuntimeError(f"the load of {key!r} asks for {key!r} itself and would wait for ever")
        task = flight.task
        flight.waiters += 1
        try:
            if not task.done():
                await asyncio.wait((task,), timeout=Deadline.sooner(None))
        finally:
            flight.waiters -= 1
            if not task.done() and not flight.waiters and not flight.keep:
                if self._flights.get(key) is flight:
                    del self._flights[key]  # whoever comes now starts anew
                task.cancel()
        if not task.done():
            raise DeadlineExceededError("the deadline passed while a value for the cache was loaded")
        if task.cancelled():
            raise UnavailableError("the load of a value for the cache was cancelled from inside")
        return task.result()

    def overtake(self, which: Callable[[str, Flight[T]], bool]) -> None:
        """Those under way keep their callers and are not stored; whoever comes later starts a new one."""
        for key, flight in tuple(self._flights.items()):
            if which(key, flight):
                flight.overtaken = True
                del self._flights[key]

    def overtake_key(self, key: str) -> None:
        flight = self._flights.pop(key, None)
        if flight is not None:
            flight.overtaken = True

    async def aclose(self) -> None:
        """Cancels what is under way and waits for its end."""
        flights = tuple(self._flights.values())
        self._flights.clear()
        for flight in flights:
            flight.task.cancel()
        await asyncio.gather(*(flight.task for flight in flights), return_exceptions=True)


def _look_at(task: asyncio.Task[Any]) -> None:
    """An error that no caller was left to see is not "never retrieved": it was the callers' to see."""
    if not task.cancelled():
        task.exception()
