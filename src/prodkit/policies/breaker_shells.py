"""The shells of CircuitBreaker around a function, a stream and a block::

run -> wrap -> guarded      closed: one comparison and `ok += 1`
         |                  not closed: _admit -> Circuit.admit -> Lease, or CircuitOpenError
         `- error: _raised -> _outcome (classify, on, ignore) -> Circuit.fail | forget -> Change -> event
"""

from __future__ import annotations

import math
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from types import CoroutineType
from typing import Any, Final

from prodkit.policies.base import AsyncFn, StreamFn, SyncFn
from prodkit.policies.block import Scope
from prodkit.policies.circuit import Lease
from prodkit.policies.deadline_guard import bounded, deadline_for, stream_until_deadline, within_deadline
from prodkit.policies.fast_clock import FastClock
from prodkit.policies.permit import Admission, Permit
from prodkit.policies.switch import OFF

__all__ = ["BreakerShells"]

_NEVER: Final = math.inf
_ONE_AT_A_TIME: Final = getattr(sys, "_is_gil_enabled", lambda: True)()
"""With the GIL no other thread can come between ``era == era`` and ``ok += 1``; without it a lock must."""


def _no_time() -> float:
    """Return 0.0: the clock of a breaker that measures nothing."""
    return 0.0


class BreakerShells(Admission):
    """The guarded forms of functions, streams and blocks."""

    _timed: bool
    _simple: bool
    _slow_gap: float
    _thread_clock: Callable[[], FastClock]

    def scope(self) -> Scope:
        """Return a guard for one block."""
        return _BreakerScope(self)

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""
        return bounded(self._wrap_timed(fn) if self._timed or not self._simple else self._wrap_short(fn))

    def _wrap_short(self, fn: AsyncFn) -> AsyncFn:
        circuit, clock, deadline, refuses = self.circuit, self._clock, deadline_for(fn), not self._shadow

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            if circuit.guarding:
                # _admit would refuse too, at the price of one more frame in the traceback
                if refuses and (wait := circuit.until - (now := clock()())) > 0 and not OFF[0]:
                    raise self._refusal(now, wait)
                return await self._long_way(self._admit(), fn, args, kwargs)
            era = circuit.era
            try:
                if deadline() == _NEVER:
                    result = await fn(*args, **kwargs)
                else:
                    result = await within_deadline(fn, args, kwargs)
            except BaseException as error:
                self._raised(Lease(era, 0.0), error)
                raise
            if circuit.era == era:
                circuit.ok += 1
            return result

        return guarded

    def _wrap_timed(self, fn: AsyncFn) -> AsyncFn:
        circuit, clock, deadline, simple = self.circuit, self._clock, deadline_for(fn), self._simple
        refuses = not self._shadow

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            if circuit.guarding:
                # _admit would refuse too, at the price of one more frame in the traceback
                if refuses and (wait := circuit.until - (at := clock()())) > 0 and not OFF[0]:
                    raise self._refusal(at, wait)
                return await self._long_way(self._admit(), fn, args, kwargs)
            era = circuit.era
            now = clock()
            start = now()
            try:
                if deadline() == _NEVER:
                    result = await fn(*args, **kwargs)
                else:
                    result = await within_deadline(fn, args, kwargs)
            except BaseException as error:
                self._raised(Lease(era, start), error)
                raise
            if simple and circuit.era == era:
                end = now()
                if end < circuit.boundary and end - start < circuit.slow_after:
                    circuit.ok += 1
                    return result
            self._judged(Lease(era, start), result)
            return result

        return guarded

    async def _long_way(
        self, lease: Lease, fn: AsyncFn, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run a call of a circuit that is not simply closed: a probe, or one admitted without counting."""
        if self._shared is not None and self.circuit.state(lease.since) == "half_open":
            await self._claim(self._shared, lease)
        try:
            result = await within_deadline(fn, args, kwargs)
        except BaseException as error:
            self._raised(lease, error)
            raise
        self._judged(lease, result)
        return result

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the plain function `fn`."""
        circuit, clock = self.circuit, self._thread_clock
        timed, simple = self._timed, self._simple and _ONE_AT_A_TIME

        def guarded(*args: Any, **kwargs: Any) -> Any:
            if circuit.guarding:
                return self._long_way_sync(self._admit(), fn, args, kwargs)
            era = circuit.era
            now = clock() if timed else _no_time
            start = now()
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                self._raised(Lease(era, start), error)
                raise
            if type(result) is CoroutineType:
                return self.resume(fn, result, args, kwargs)
            if simple and circuit.era == era:
                if not timed:
                    circuit.ok += 1
                    return result
                end = now()
                if end < circuit.boundary and end - start < circuit.slow_after:
                    circuit.ok += 1
                    return result
            self._judged(Lease(era, start), result)
            return result

        return guarded

    def _long_way_sync(self, lease: Lease, fn: SyncFn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:
            self._raised(lease, error)
            raise
        if type(result) is CoroutineType:
            self._forgotten(lease)  # the end of the coroutine counts
            return self.resume(fn, result, args, kwargs)
        self._judged(lease, result)
        return result

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        """Return the guarded form of the async generator function `fn`."""
        fn = stream_until_deadline(fn)

        async def guarded(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            permit = await self.admit()
            watch = _StreamWatch(self, permit)
            try:
                async with aclosing(fn(*args, **kwargs)) as items:  # type: ignore[type-var]
                    async for item in items:
                        watch.arrived()
                        yield item
                        watch.asked()
                permit.succeed()
            except GeneratorExit:
                if watch.begun:
                    permit.succeed()  # it answered; the reader had enough
                raise
            except BaseException as error:
                permit.fail(error)
                raise
            finally:
                permit.cancel()

        return bounded(guarded)

    def wrap_generator(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the generator function `fn`."""

        def guarded(*args: Any, **kwargs: Any) -> Iterator[Any]:
            permit = self.acquire()
            watch = _StreamWatch(self, permit)
            try:
                with closing(fn(*args, **kwargs)) as items:
                    for item in items:
                        watch.arrived()
                        yield item
                        watch.asked()
                permit.succeed()
            except GeneratorExit:
                if watch.begun:
                    permit.succeed()
                raise
            except BaseException as error:
                permit.fail(error)
                raise
            finally:
                permit.cancel()

        return guarded


class _StreamWatch:
    """Measures a stream: the wait for its first item, and for each later one where a gap may be slow."""

    __slots__ = ("_breaker", "_now", "_permit", "_since", "begun")

    def __init__(self, breaker: BreakerShells, permit: Permit) -> None:
        self._breaker = breaker
        self._permit = permit
        self._now = breaker._thread_clock()
        self._since = math.inf
        self.begun: bool = False

    def arrived(self) -> None:
        """Record an item."""
        if not self.begun:
            self.begun = True
            self._permit.prove()
        elif self._breaker._slow_gap != math.inf:
            lease = self._permit.lease
            if lease is not None and self._now() - self._since >= self._breaker._slow_gap:
                lease.took = math.inf

    def asked(self) -> None:
        """Record that the reader wants the next item: its pause is over."""
        if self._breaker._slow_gap != math.inf:
            self._since = self._now()


class _BreakerScope(Scope):
    __slots__ = ("_breaker", "_permit")

    _permit: Permit

    def __init__(self, breaker: BreakerShells) -> None:
        self._breaker = breaker

    async def enter(self) -> None:
        self._permit = await self._breaker.admit()

    def enter_sync(self) -> None:
        self._permit = self._breaker.acquire()

    def leave(self, error: BaseException | None) -> None:
        if error is None:
            self._permit.succeed()
        else:
            self._permit.fail(error)
