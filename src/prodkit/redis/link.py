"""RedisLink: one pool, hard limits, and one opinion about whether Redis is there."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, TypeVar

from prodkit.core.check import CheckResult
from prodkit.core.deadline import Deadline
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable, reveal
from prodkit.errors import DeadlineExceededError, MissingExtraError, PoolExhaustedError, RedisError
from prodkit.redis import address
from prodkit.redis.errors import classify, told
from prodkit.redis.events import RedisLost, RedisRecovered

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisLink"]

T = TypeVar("T")

_FIRST_PROBE: Final = 0.05
_LAST_PROBE: Final = 1.0  # back in use within 2 s of a recovery
_RECOVERY_LIMIT: Final = 30.0  # what the recovery callbacks may take together before Redis is probed anew

_recovering: ContextVar[RedisLink | None] = ContextVar("prodkit_redis_recovering", default=None)


class RedisLink(Managed):
    """The one way from this process to Redis, for the cache, the limiter and whoever shares state.

    ::

        link = RedisLink("redis://localhost:6379/0")
        async with link:
            await link.run(lambda client: client.set("greeting", "olá"))

    ``RedisLink(None)`` is not configured: every user of it works in memory, by choice. A Redis that is down
    raises nothing at the start either: its users work in memory, a probe looks for it in the background, and
    when it answers, the callbacks of :meth:`on_up` run *before* anybody else is let through, so that what
    was deleted or counted meanwhile is not forgotten.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, or None. Its password is never shown.
        timeout: seconds that one :meth:`run` may take, connecting included; the Deadline may make it shorter.
        connect_timeout: seconds for the connections opened in the background, at the start and by the probe.
        max_connections: calls at the same time; the next ones wait for their turn.
        max_wait: seconds that a call waits for its turn before :class:`~prodkit.PoolExhaustedError`. A pool
            that is full is no outage.

    Belongs to one event loop. redis-py's own retries are off: one policy decides.
    """

    def __init__(
        self,
        url: str | Revealable | None,
        *,
        runtime: Runtime = SYSTEM,
        timeout: float = 0.25,
        connect_timeout: float = 0.5,
        max_connections: int = 50,
        max_wait: float = 1.0,
        name: str = "redis",
    ) -> None:
        problems = [
            f"{what} must be a positive number of seconds, got {value!r}"
            for what, value in (
                ("timeout", timeout),
                ("connect_timeout", connect_timeout),
                ("max_wait", max_wait),
            )
            if not (0 < value < math.inf)
        ]
        if max_connections < 1:
            problems.append(f"max_connections must be at least 1, got {max_connections!r}")
        if problems:
            raise ValueError("; ".join(problems))
        self.name = name
        self.timeout = timeout
        self.connect_timeout = connect_timeout
        self.max_connections = max_connections
        self.max_wait = max_wait
        self._runtime = runtime
        self._clock = runtime.clock
        self._url = url
        self._address = "none"
        if url is not None:
            _need_redis()
            plain = reveal(url)
            address.connection_options(plain)  # a bad URL stops the program here, not the first request
            self._address = address.shown(plain)
        self._client: Redis | None = None
        self._gate = asyncio.Semaphore(max_connections)
        self._waiting = 0
        self._up = url is not None
        self._closed = False
        self._reason = ""
        self._down_since = 0.0
        self._next_probe = 0.0
        self._last_ok = -math.inf
        self._tasks: set[asyncio.Task[None]] = set()
        self._verifying = False
        self._on_up: list[Callable[[], Awaitable[object] | object]] = []
        self._on_down: list[Callable[[], object]] = []

    # -- what users ask --
    @property
    def configured(self) -> bool:
        """Whether there is a Redis to talk to at all."""
        return self._url is not None

    @property
    def up(self) -> bool:
        """Whether :meth:`run` would send. False while down, catching up, closed or not configured."""
        return self._up

    @property
    def address(self) -> str:
        """Where the link points to, without user and password."""
        return self._address

    async def run(self, fn: Callable[[Redis], Awaitable[T]], *, timeout: float | None = None) -> T:
        """Awaits ``fn(client)`` with a ``redis.asyncio.Redis`` and returns what it returns.

        `timeout` replaces the link's own for this call, for instance for a command that blocks; ``math.inf``
        leaves only the Deadline. Being cancelled closes the connection that was in use and says nothing
        about Redis.

        Raises:
            RedisError: not configured, down, or the call failed because of the server. Once the link is down
            this
                takes microseconds. ``retry_after`` is the time to the next probe.
            PoolExhaustedError: all connections stayed busy for `max_wait` seconds. Nothing was sent.
            DeadlineExceededError: the caller's Deadline passed first.
            redis.exceptions.ResponseError: the command itself is wrong (WRONGTYPE, a script error).
        """
        if not callable(fn):
            raise _no_function(fn)
        if not self._up and _recovering.get() is not self:
            raise self._refusal()
        client = self._client or self._open()
        gate = self._gate
        if gate.locked():
            await self._turn()
        else:
            await gate.acquire()  # does not wait
        try:
            return await self._call(fn, client, self.timeout if timeout is None else timeout)
        finally:
            gate.release()

    def on_up(self, callback: Callable[[], Awaitable[object] | object]) -> Callable[[], None]:
        """Calls `callback` (sync or async) when Redis answers again, before anybody else may use it.

        Inside it :meth:`run` works. When it raises :class:`~prodkit.RedisError` Redis stays down and the
        probe goes on; it is then called again, so it keeps what it has not done. Returns the function that
        takes it off.
        """
        self._on_up.append(callback)
        return lambda: _discard(self._on_up, callback)

    def on_down(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Calls `callback` once whenever the link goes down. Returns the function that takes it off."""
        self._on_down.append(callback)
        return lambda: _discard(self._on_down, callback)

    def dedicated(self) -> Redis:
        """A client with a single connection of its own, for subscriptions. Whoever asks for it closes it.

        It has none of the link's limits; its errors are redis-py's. Raises RedisError without a Redis.
        """
        if self._url is None or self._closed:
            raise self._refusal()
        from prodkit.redis.pool import open_client

        return open_client(reveal(self._url), 1)

    async def check(self) -> CheckResult:
        """Up; degraded while Redis is away, because every user of the link goes on in memory."""
        if not self.configured:
            return CheckResult("up", "not configured: state is kept in the memory of this process")
        details: dict[str, object] = {
            "address": self._address,
            "max_connections": self.max_connections,
            "waiting": self._waiting,
        }
        started = self._clock.monotonic()
        if not self._up:
            details["down_for"] = round(started - self._down_since, 3)
            return CheckResult("degraded", f"working in memory: {self._reason}", details)
        try:
            await self.run(_ping)
        except PoolExhaustedError:
            return CheckResult("degraded", "all connections are busy", details)
        except RedisError as error:
            return CheckResult("degraded", f"working in memory: {error}", details)
        details["latency_ms"] = round((self._clock.monotonic() - started) * 1000, 3)
        return CheckResult("up", "", details)

    # -- lifespan --
    async def start(self) -> None:
        """Looks for Redis once, within `connect_timeout`. A Redis that is down raises nothing."""
        if self._url is None:
            return
        if self._closed:
            self._closed, self._up = False, True
        if not self._up:
            return
        problem = await self._probe(self._client or self._open())
        if problem is not None and self._up:
            self._go_down(problem)

    async def aclose(self) -> None:
        """Ends the probe and closes every connection."""
        self._closed, self._up = True, False
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # -- one call --
    async def _turn(self) -> None:
        limit = Deadline.sooner(self.max_wait)
        self._waiting += 1
        try:
            async with asyncio.timeout(limit):
                await self._gate.acquire()
        except TimeoutError:
            if limit is not None and limit < self.max_wait:
                raise DeadlineExceededError(
                    "the deadline passed while waiting for a Redis connection"
                ) from None
            raise PoolExhaustedError(
                f"all {self.max_connections} Redis connections stayed busy for {self.max_wait} s",
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
            fault = classify(error)
            if fault == "bug":
                raise
            if fault == "outage":
                self._go_down(told(error))
            raise RedisError(
                f"Redis at {self._address} failed: {told(error)}", retry_after=self._wait()
            ) from error
        self._last_ok = self._clock.monotonic()
        return result

    def _overrun(self, started: float, own: float, limit: float | None) -> Exception:
        """What a call that ran into a limit becomes, and what it says about Redis."""
        assert limit is not None
        if limit < own:
            # The caller was in a hurry: that proves nothing, but it is a reason to look.
            self._verify()
            return DeadlineExceededError("the deadline passed while waiting for Redis", timeout=limit)
        if self._last_ok < started + limit / 2:
            self._go_down(f"no answer within {limit:g} s")
        # else: it answered others meanwhile, so this one call was slow
        return RedisError(
            f"Redis at {self._address} gave no answer within {limit:g} s", retry_after=self._wait()
        )

    def _refusal(self) -> RedisError:
        if self._url is None:
            return RedisError("no Redis is configured: RedisLink was made with None")
        if self._closed:
            return RedisError(f"the link to Redis at {self._address} is closed")
        return RedisError(f"Redis at {self._address} is down: {self._reason}", retry_after=self._wait())

    def _wait(self) -> float | None:
        return None if self._up else max(0.0, self._next_probe - self._clock.monotonic())

    # -- up and down --
    def _open(self) -> Redis:
        if self._url is None:
            raise self._refusal()
        from prodkit.redis.pool import open_client

        client = open_client(reveal(self._url), self.max_connections)
        self._client = client
        return client

    def _go_down(self, reason: str) -> None:
        if not self._up:
            return
        self._up = False
        self._reason = reason
        self._down_since = self._clock.monotonic()
        self._next_probe = self._down_since + _FIRST_PROBE
        self._background(self._look_for_it())
        for callback in tuple(self._on_down):
            with suppress(Exception):
                callback()
        if self._runtime.events.listened(RedisLost):
            self._runtime.events.emit(RedisLost(address=self._address, reason=reason))

    def _verify(self) -> None:
        if self._up and not self._verifying:
            self._verifying = True
            self._background(self._look_once())

    def _background(self, work: Awaitable[None]) -> None:
        with Deadline.detached():  # what outlives the request does not inherit its deadline
            task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_once(self) -> None:
        try:
            problem = await self._probe(self._client or self._open())
            if problem is not None:
                self._go_down(problem)
        finally:
            self._verifying = False

    async def _look_for_it(self) -> None:
        """Probes until Redis answers and the callbacks are done."""
        _recovering.set(self)  # this task's context only
        client = self._client or self._open()
        delay = _FIRST_PROBE
        while True:
            await client.connection_pool.disconnect(inuse_connections=False)
            wait = delay * (1 - 0.2 * self._runtime.rng.random())
            self._next_probe = self._clock.monotonic() + wait
            await self._clock.sleep(wait)
            problem = await self._probe(client) or await self._catch_up()
            if problem is None:
                break
            self._reason = problem
            delay = min(_LAST_PROBE, delay * 2)
        self._up = True
        if self._runtime.events.listened(RedisRecovered):
            down_for = self._clock.monotonic() - self._down_since
            self._runtime.events.emit(RedisRecovered(address=self._address, down_for=down_for))

    async def _probe(self, client: Redis) -> str | None:
        """Asks for a sign of life; returns the problem, if any."""
        try:
            async with asyncio.timeout(self.connect_timeout):
                await _ping(client)
        except TimeoutError:
            return f"no answer within {self.connect_timeout:g} s"
        except Exception as error:  # noqa: BLE001 - whatever it is, Redis is not usable
            return told(error)
        return None

    async def _catch_up(self) -> str | None:
        try:
            async with asyncio.timeout(_RECOVERY_LIMIT):
                for callback in tuple(self._on_up):
                    try:
                        outcome = callback()
                        if inspect.isawaitable(outcome):
                            await outcome
                    except (RedisError, PoolExhaustedError) as error:
                        return f"lost again while catching up: {error}"
                    except Exception as error:  # noqa: BLE001 - must not keep Redis away for ever
                        asyncio.get_running_loop().call_exception_handler(
                            {"message": "a callback of RedisLink.on_up failed", "exception": error}
                        )
        except TimeoutError:
            return f"catching up took more than {_RECOVERY_LIMIT:g} s"
        return None

    def __repr__(self) -> str:
        state = "closed" if self._closed else "up" if self._up else "down" if self.configured else "in memory"
        limits = f"timeout={self.timeout}, max_connections={self.max_connections}"
        return f"RedisLink({self._address!r}, {state}, {limits})"


def _need_redis() -> None:
    try:
        import redis  # noqa: F401 - only to see whether it is there
    except ImportError:
        raise MissingExtraError.named("redis", "redis") from None


async def _ping(client: Redis) -> None:
    await client.execute_command("PING")  # type: ignore[no-untyped-call]


def _no_function(given: object) -> TypeError:
    if inspect.iscoroutine(given):
        given.close()
    return TypeError(f"RedisLink.run takes a function of the client, got {given!r}: pass the function")


def _discard(callbacks: list[T], callback: T) -> None:
    if callback in callbacks:
        callbacks.remove(callback)
