"""RedisLink: one way to Redis with hard limits, and one verdict about whether it is up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from prodkit.core.check import CheckResult
from prodkit.core.deadline import Deadline
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable, reveal
from prodkit.core.validate import Arguments
from prodkit.errors import DeadlineExceededError, RedisError
from prodkit.redis.address import Address
from prodkit.redis.errors import describe
from prodkit.redis.link_calls import LinkCalls, discard, need_redis, no_function
from prodkit.redis.shared_connection import LimitReached

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from prodkit.redis.topology import Topology

__all__ = ["RedisLink"]

T = TypeVar("T")


class RedisLink(LinkCalls):
    """The one way from this process to Redis, for the cache, the limiter and every other user of shared state.

    ::

        link = RedisLink("redis://localhost:6379/0")
        async with link:
            await link.execute("SET", "greeting", "olá")
            await link.run(lambda client: client.get("greeting"))

    ``RedisLink(None)`` is not configured: every user of it works in memory, by choice. A Redis that is down raises
    nothing at the start: its users work in memory, a probe looks for it in the background, and when it answers, the
    callbacks of :meth:`on_up` run before other callers are let through.

    Belongs to one event loop. redis-py's own retries are off: one policy decides.

    Args:
        url: ``redis://host``, ``rediss://``, ``unix://``, a Sentinel group (``redis://a,b?sentinel=mymaster``) or a
            cluster (``redis://a,b?cluster=true``); None for no Redis. Its password is never shown.
        runtime: clock, randomness and events; the default is the system's.
        timeout: seconds that one call may take, connecting included; 0.25 suits a Redis nearby, raise it where
            connecting takes longer (TLS over a distance). A Deadline makes it shorter.
        connect_timeout: seconds for the connections opened in the background, at the start and by the probe.
        max_connections: concurrent calls of :meth:`run`; further ones queue. :meth:`execute` shares one connection
            and needs none of them.
        queue_timeout: seconds that a call of :meth:`run` queues before :class:`~prodkit.PoolExhaustedError`. A full
            pool is no outage.
        name: its name in the health report.
    """

    def __init__(
        self,
        url: str | Revealable | None,
        *,
        runtime: Runtime = SYSTEM,
        timeout: float = 0.25,
        connect_timeout: float = 0.5,
        max_connections: int = 50,
        queue_timeout: float = 1.0,
        name: str = "redis",
    ) -> None:
        check = Arguments("RedisLink")
        check.seconds("timeout", timeout)
        check.seconds("connect_timeout", connect_timeout)
        check.seconds("queue_timeout", queue_timeout)
        check.integer("max_connections", max_connections, minimum=1)
        check.text("name", name)
        self._address: Address | None = None
        if url is not None:
            need_redis()
            # A bad URL stops the program here, not the first request.
            if isinstance(url, str) or hasattr(url, "reveal"):
                check.attempt(lambda: setattr(self, "_address", Address.parse(reveal(url))))
            else:
                check.instance("url", url, str, "a URL, a Secret", optional=True)
        check.done()
        self.name: str = name
        self.timeout: float = timeout
        self.connect_timeout: float = connect_timeout
        self.max_connections: int = max_connections
        self.queue_timeout: float = queue_timeout
        self._clock = runtime.clock
        self._topology: Topology | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(max_connections)
        self._waiting = 0
        self._closed = False
        self._runtime = runtime
        self._state = self._availability(self._address is not None)

    # --- for users --------------------------------------------------------------------------------------------------

    @property
    def configured(self) -> bool:
        """True when there is a Redis to talk to at all."""
        return self._address is not None

    @property
    def up(self) -> bool:
        """True when a call would be sent. False while down, recovering, closed or not configured."""
        return self._state.up

    @property
    def losses(self) -> int:
        """The number of outages so far."""
        return self._state.losses

    @property
    def connections(self) -> int:
        """The number of times that :meth:`execute` has connected: another number, another connection."""
        return 0 if self._topology is None else self._topology.opened

    @property
    def cluster(self) -> bool:
        """True for a Redis Cluster, where the keys of one script have to share a hash tag."""
        return self._address is not None and self._address.kind == "cluster"

    @property
    def replicated(self) -> bool:
        """True for a Sentinel group or a cluster, where a primary that fails may take its last writes with it."""
        return self._address is not None and self._address.kind != "single"

    async def execute(
        self, *command: Any, key: str | bytes | None = None, timeout: float | None = None
    ) -> Any:
        """Send one command on the shared connection and return its reply as Redis gives it: bytes, int, list or None.

        The cheapest way for commands that do not block: no queue, one write for the commands of one tick. A caller
        that is cancelled leaves the connection in order.

        Args:
            command: the command and its arguments.
            key: a key of the command, which decides the node of a cluster.
            timeout: seconds, instead of the link's own limit.

        Raises:
            RedisError: not configured, down, or the call failed because of the server. ``retry_after`` is the time to
                the next probe. Once the link is down this takes microseconds.
            DeadlineExceededError: the caller's Deadline passed first.
            redis.exceptions.ResponseError: the command itself is wrong (WRONGTYPE, a script error).
        """
        reply = (await self.execute_many((command,), key=key, timeout=timeout))[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def execute_many(
        self,
        commands: Sequence[tuple[Any, ...]],
        *,
        key: str | bytes | None = None,
        timeout: float | None = None,
    ) -> list[Any]:
        """Send several commands together; return their replies in order.

        The error of a command that is wrong is returned in its place.

        Args:
            commands: each a command with its arguments; on a cluster all of one slot.
            key: a key of the commands, which decides the node of a cluster.
            timeout: seconds for all of them, instead of the link's own limit.

        Raises:
            RedisError: as for :meth:`execute`.
            DeadlineExceededError: the caller's Deadline passed first.
        """
        if not self._state.up and not self._state.usable:
            raise self._refusal()
        topology = self._enter()
        own = self.timeout if timeout is None else timeout
        limit = Deadline.sooner(own)
        if limit is not None and limit <= 0:
            raise DeadlineExceededError("the deadline passed before Redis was asked")
        started = self._clock.monotonic()
        try:
            replies = await topology.execute(commands, key, None if limit == math.inf else limit)
        except LimitReached:
            raise self._overrun(started, own, limit) from None
        except Exception as error:
            raise self._failure(error) from error
        self._state.last_ok = started
        for reply in replies:
            if isinstance(reply, Exception) and (failure := self._failure(reply)) is not reply:
                raise failure from reply
        return replies

    async def run(self, fn: Callable[[Redis], Awaitable[T]], *, timeout: float | None = None) -> T:
        """Await ``fn(client)`` with a ``redis.asyncio.Redis`` and return its result.

        Being cancelled closes the connection that was in use and says nothing about Redis.

        Args:
            fn: a function of the client; several commands may stand in it, and commands that block.
            timeout: seconds, instead of the link's own limit, for instance for a command that blocks; ``math.inf``
                leaves only the Deadline.

        Raises:
            RedisError: not configured, down, or the call failed because of the server. ``retry_after`` is the time to
                the next probe. Once the link is down this takes microseconds.
            PoolExhaustedError: all connections stayed busy for `queue_timeout` seconds. Nothing was sent.
            DeadlineExceededError: the caller's Deadline passed first.
            redis.exceptions.ResponseError: the command itself is wrong (WRONGTYPE, a script error).
        """
        if not callable(fn):
            raise no_function(fn)
        if not self._state.usable:
            raise self._refusal()
        topology = self._enter()
        slots = self._slots
        if slots.locked():
            await self._queue()
        else:
            await slots.acquire()  # does not wait
        try:
            return await self._call(fn, topology.client, self.timeout if timeout is None else timeout)
        finally:
            slots.release()

    async def scan(
        self, match: str | bytes, *, key: str | bytes | None = None, count: int = 1000
    ) -> AsyncIterator[list[bytes]]:
        """Iterate over the names of keys, a page at a time, in one pass of SCAN.

        Args:
            match: a pattern of Redis.
            key: on a cluster, a key of the node to scan.
            count: keys that Redis looks at for one page; 1000 takes it about a millisecond.
        """
        cursor: bytes | int = 0
        while True:
            cursor, names = await self.execute("SCAN", cursor, "MATCH", match, "COUNT", count, key=key)
            if names:
                yield names
            if cursor in (0, b"0"):
                return

    def on_up(self, callback: Callable[[], Awaitable[object] | object]) -> Callable[[], None]:
        """Call `callback` when Redis answers again, before other callers may use it; return its removal.

        Inside it :meth:`run` and :meth:`execute` work. When it raises :class:`~prodkit.RedisError`, Redis stays down,
        the probe goes on and the callback is called again. All other callers wait for it: keep it to a few round
        trips, and do the rest in the background.

        Args:
            callback: a function or coroutine function without arguments.
        """
        self._state.on_up.append(callback)
        return lambda: discard(self._state.on_up, callback)

    def on_down(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` once whenever the link goes down; return its removal.

        Args:
            callback: a function without arguments; it must not wait.
        """
        self._state.on_down.append(callback)
        return lambda: discard(self._state.on_down, callback)

    async def primaries(self) -> tuple[tuple[str, int], ...]:
        """Return host and port of each primary of a cluster as of now; nothing for one server or a Sentinel group.

        Raises:
            RedisError: no Redis is configured, the link is closed, or no node answers.
        """
        if self._address is None or self._closed:
            raise self._refusal()
        try:
            return await self._enter().primaries()
        except Exception as error:
            raise RedisError(f"Redis at {self.address} failed: {describe(error)}") from error

    def dedicated(self, node: tuple[str, int] | None = None) -> Redis:
        """Return a client with a connection of its own, for subscriptions; its caller closes it.

        It has none of the link's limits; its errors are redis-py's. On a cluster it is connected to one node, which is
        enough for channels.

        Args:
            node: on a cluster, host and port of one of :meth:`primaries`; None for any node.

        Raises:
            RedisError: no Redis is configured, or the link is closed.
        """
        if self._address is None or self._closed:
            raise self._refusal()
        return self._enter().dedicated(node)

    async def check(self) -> CheckResult:
        """Report up, or degraded while Redis is away, because every user of the link keeps working in memory."""
        if self._address is None:
            return CheckResult("up", "not configured: state is kept in the memory of this process")
        details: dict[str, object] = {
            "address": self.address,
            "max_connections": self.max_connections,
            "waiting": self._waiting,
        }
        started = self._clock.monotonic()
        if not self._state.up:
            details["down_for"] = round(started - self._state.down_since, 3)
            return CheckResult("degraded", f"working in memory: {self._state.reason}", details)
        try:
            await self.execute("PING")
        except RedisError as error:
            return CheckResult("degraded", f"working in memory: {error}", details)
        details["latency_ms"] = round((self._clock.monotonic() - started) * 1000, 3)
        return CheckResult("up", "", details)

    # --- lifespan ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Look for Redis once, within `connect_timeout`. A Redis that is down raises nothing."""
        if self._address is None:
            return
        if self._closed:
            self._closed, self._state.up = False, True
        if not self._state.up:
            return
        self._enter()
        problem = await self._probe()
        if problem is not None and self._state.up:
            self._state.go_down(problem)

    async def aclose(self) -> None:
        """End the probe and close every connection."""
        self._closed, self._state.up = True, False
        await self._state.aclose()
        topology, self._topology = self._topology, None
        if topology is not None:
            await topology.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "up" if self.up else "down" if self.configured else "in memory"
        limits = f"timeout={self.timeout}, max_connections={self.max_connections}"
        return f"RedisLink({self.address!r}, {state}, {limits})"
