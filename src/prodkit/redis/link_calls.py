"""One call of a link: where it goes, how long it may take, and what its error says about Redis."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from prodkit.core.clock import Clock
from prodkit.core.deadline import Deadline
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import Runtime
from prodkit.errors import DeadlineExceededError, MissingExtraError, PoolExhaustedError, RedisError
from prodkit.redis.address import Address
from prodkit.redis.availability import Availability
from prodkit.redis.errors import classify, describe

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from prodkit.redis.topology import Topology

__all__ = ["LinkCalls", "discard", "need_redis", "no_function"]

T = TypeVar("T")


class LinkCalls(Managed):
    """The path of one call of :class:`~prodkit.redis.RedisLink`: its loop, queue, limit and verdict."""

    timeout: float
    connect_timeout: float
    max_connections: int
    queue_timeout: float
    _address: Address | None
    _clock: Clock
    _closed: bool
    _loop: asyncio.AbstractEventLoop | None
    _runtime: Runtime
    _slots: asyncio.Semaphore
    _state: Availability
    _topology: Topology | None
    _waiting: int

    @property
    def address(self) -> str:
        """The URL without user, password and options."""
        return "none" if self._address is None else self._address.shown

    def _availability(self, up: bool) -> Availability:
        return Availability(up, self._runtime, self.address, self._probe, self._disconnect)

    def _enter(self) -> Topology:
        """Return the connections; on another event loop than before, new ones."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._change_loop(loop)
        if self._topology is None:
            if self._address is None or self._closed:
                raise self._refusal()
            from prodkit.redis.topology import open_topology

            self._topology = open_topology(self._address, self.max_connections, self.connect_timeout)
        return self._topology

    def _change_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None and self._loop.is_running():
            raise RuntimeError(
                "this RedisLink belongs to another event loop that is running: use one link per loop"
            )
        if self._loop is not None:
            # Its loop has ended, and with it the connections and the probe. The callbacks stay.
            before = self._state
            self._topology, self._slots, self._waiting = None, asyncio.Semaphore(self.max_connections), 0
            self._state = self._availability(self._address is not None and not self._closed)
            self._state.on_up, self._state.on_down, self._state.losses = (
                before.on_up,
                before.on_down,
                before.losses,
            )
        self._loop = loop

    async def _queue(self) -> None:
        limit = Deadline.sooner(self.queue_timeout)
        self._waiting += 1
        try:
            async with asyncio.timeout(limit):
                await self._slots.acquire()
        except TimeoutError:
            if limit is not None and limit < self.queue_timeout:
                raise DeadlineExceededError(
                    "the deadline passed while waiting for a Redis connection"
                ) from None
            raise PoolExhaustedError(
                f"all {self.max_connections} Redis connections stayed busy for {self.queue_timeout} s",
                size=self.max_connections,
                waiting=self._waiting,
            ) from None
        finally:
            self._waiting -= 1

    async def _call(self, fn: Callable[[Redis], Awaitable[T]], client: Redis, own: float) -> T:
        limit = Deadline.sooner(own)
        if limit is not None and limit <= 0:
            raise DeadlineExceededError("the deadline passed before Redis was asked")
        started = self._clock.monotonic()
        scope = asyncio.timeout(None if limit == math.inf else limit)
        try:
            async with scope:
                result = await fn(client)
        except Exception as error:
            if scope.expired():
                raise self._overrun(started, own, limit) from None
            failure = self._failure(error)
            if failure is error:
                raise
            raise failure from error
        self._state.last_ok = self._clock.monotonic()
        return result

    def _failure(self, error: Exception) -> Exception:
        """Return what `error` becomes for the caller: itself when it is the caller's mistake."""
        fault = classify(error)
        if fault == "bug":
            return error
        if fault == "outage":
            self._state.go_down(describe(error))
        return RedisError(
            f"Redis at {self.address} failed: {describe(error)}", retry_after=self._state.retry_after
        )

    def _overrun(self, started: float, own: float, limit: float | None) -> Exception:
        """Return what a call that ran into a limit becomes, and draw its conclusion about Redis."""
        assert limit is not None
        if limit < own:
            # The caller was in a hurry: that proves nothing, but it is a reason to look.
            self._state.verify()
            return DeadlineExceededError("the deadline passed while waiting for Redis", timeout=limit)
        if self._state.last_ok < started + limit / 2:
            self._state.go_down(f"no answer within {limit:g} s")
        # else: it has answered others since, so this one call was slow
        return RedisError(
            f"Redis at {self.address} gave no answer within {limit:g} s", retry_after=self._state.retry_after
        )

    def _refusal(self) -> RedisError:
        if self._address is None:
            return RedisError("no Redis is configured: RedisLink was made with None")
        if self._closed:
            return RedisError(f"the link to Redis at {self.address} is closed")
        return RedisError(
            f"Redis at {self.address} is down: {self._state.reason}", retry_after=self._state.retry_after
        )

    # --- for the probe ----------------------------------------------------------------------------------------------

    async def _probe(self) -> str | None:
        topology = self._enter()
        try:
            async with asyncio.timeout(self.connect_timeout):
                await topology.probe()
        except TimeoutError:
            return f"no answer within {self.connect_timeout:g} s"
        except Exception as error:  # noqa: BLE001 - whatever it is, Redis is not usable
            return describe(error)
        return None

    async def _disconnect(self) -> None:
        if self._topology is not None:
            with suppress(Exception):
                await self._topology.disconnect()


def need_redis() -> None:
    """Raise MissingExtraError where redis-py is not installed."""
    try:
        import redis  # noqa: F401 - only to see whether it is there
    except ImportError:
        raise MissingExtraError.named("redis", "redis") from None


def no_function(given: object) -> TypeError:
    """Return the error for something that is no function.

    Args:
        given: what stands in its place; a coroutine is closed.
    """
    if inspect.iscoroutine(given):
        given.close()
    return TypeError(f"RedisLink.run takes a function of the client, got {given!r}: pass the function")


def discard(callbacks: list[Any], callback: Callable[[], object]) -> None:
    """Remove `callback`, if it is there.

    Args:
        callbacks: the list.
        callback: what to remove.
    """
    with suppress(ValueError):
        cast("list[object]", callbacks).remove(callback)
