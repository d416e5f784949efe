"""SharedBreakers: circuit breakers of several processes open and probe together, through Redis.

While a circuit is closed nothing is asked and nothing is sent. When it opens in one process, the others receive a
message and open too; when its time is over, exactly one process gets the lease to probe.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from prodkit.core.check import CheckResult
from prodkit.core.deadline import Deadline
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import DeadlineExceededError, PoolExhaustedError, RedisError
from prodkit.redis.link import RedisLink
from prodkit.redis.scripts import Script

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["SharedBreakers"]

_HEARTBEAT: Final = 5.0
_PAUSE: Final = 0.5

# A key with PTTL 3 at 10 ms is still there at 13 ms and gone at 14 ms. So a lease of 30 ms is a key of 29 ms, and
# after PTTL + 1 the answer is another one.

# KEYS: open, lease. ARGV: milliseconds, channel, message. An opening can only be prolonged, and it ends the probe.
_OPEN: Final = Script("""
local life = math.max(1, ARGV[1] - 1)
if redis.call('PTTL', KEYS[1]) < life then redis.call('SET', KEYS[1], '', 'PX', life) end
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', ARGV[2], ARGV[3])
""")

_CLOSE: Final = Script("""
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('PUBLISH', ARGV[1], ARGV[2])
""")

# KEYS: open, lease. ARGV: process, milliseconds. Returns 0 when the probe is ours, else the milliseconds to wait.
_CLAIM: Final = Script("""
local left = redis.call('PTTL', KEYS[1])
if left > 0 then return left + 1 end
local life = math.max(1, ARGV[2] - 1)
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', life) then return 0 end
if redis.call('GET', KEYS[2]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[2], life)
  return 0
end
return math.max(0, redis.call('PTTL', KEYS[2])) + 1
""")


class SharedBreakers(Managed):
    """The ``shared=`` of circuit breakers that several processes have in common.

    ::

        shared = SharedBreakers(redis)
        perplexity = CircuitBreaker("perplexity", open_for=300, shared=shared)
        async with redis, shared: ...

    Breakers of one name and `namespace` belong together. Without Redis, and while it is away, each process decides
    alone, as it would without this; an opening that could not be published is published when Redis is back, for what
    is left of it.

    Args:
        redis: the link; one without a Redis leaves each process alone.
        namespace: the prefix of its keys in Redis, and the name of its channel.
        runtime: clock; the default is the system's.
    """

    def __init__(self, redis: RedisLink, *, namespace: str = "breaker", runtime: Runtime = SYSTEM) -> None:
        self.name: str = "breakers"
        self._link = redis
        self._clock = runtime.clock
        self._prefix = namespace
        self._channel = f"{namespace}:changes"
        self._me = secrets.token_hex(8)
        self._listeners: dict[str, list[tuple[Callable[[float], None], Callable[[], None]]]] = {}
        self._unsent: dict[str, float | None] = {}  # by breaker: open until this instant, or None for closed
        self._lock = threading.Lock()  # breakers are used from threads too
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: asyncio.Task[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._listening = False
        self._off: Callable[[], None] | None = None

    # --- for breakers -----------------------------------------------------------------------------------------------

    def listen(self, breaker: str, opened: Callable[[float], None], closed: Callable[[], None]) -> None:
        """Call back when another process opened or closed `breaker`.

        Args:
            breaker: its name.
            opened: called with the seconds for which it stays open.
            closed: called without arguments.
        """
        self._listeners.setdefault(breaker, []).append((opened, closed))

    def opened(self, breaker: str, seconds: float) -> None:
        """Publish an opening in the background.

        Args:
            breaker: its name.
            seconds: for which it stays open.
        """
        self._publish(breaker, self._clock.monotonic() + seconds)

    def closed(self, breaker: str) -> None:
        """Publish a closing in the background.

        Args:
            breaker: its name.
        """
        self._publish(breaker, None)

    async def claim(self, breaker: str, seconds: float) -> float | None:
        """Return None when this process is to probe, also when Redis cannot be asked; else the seconds to wait.

        Args:
            breaker: its name.
            seconds: the longest time that the probe may take; then the lease ends.
        """
        if not self._link.up:
            return None
        keys = self._keys(breaker)
        try:
            left: int = await _CLAIM(self._link, keys=keys, args=[self._me, max(1, int(seconds * 1000))])
        except (RedisError, PoolExhaustedError, DeadlineExceededError):
            return None
        return left / 1000 if left else None

    # --- lifespan ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Subscribe in the background; a Redis that is down delays nothing."""
        if not self._link.configured or self._listener is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._off = self._link.on_up(self._after_an_outage)
        with Deadline.detached():
            self._listener = asyncio.ensure_future(self._listen())
        self._wake()

    async def aclose(self) -> None:
        """Publish what is still unsent, and end the subscription."""
        self._loop = None
        if self._off is not None:
            self._off()
        sender, listener = self._sender, self._listener
        self._sender = self._listener = self._off = None
        if sender is not None:
            await sender
        if listener is not None:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def check(self) -> CheckResult:
        """Report degraded while this process receives nothing from the others."""
        if not self._link.configured:
            return CheckResult("up", "not configured: each process decides alone")
        if not self._listening:
            return CheckResult("degraded", "not subscribed: each process decides alone")
        return CheckResult("up")

    # --- publishing -------------------------------------------------------------------------------------------------

    def _keys(self, breaker: str) -> tuple[str, str]:
        tag = f"{{{self._prefix}:{breaker}}}"  # both in one slot of a cluster
        return f"{tag}:open", f"{tag}:probe"

    def _publish(self, breaker: str, until: float | None) -> None:
        with self._lock:
            self._unsent[breaker] = until
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._loop is not None and self._sender is None and self._unsent and self._link.up:
            with Deadline.detached():
                self._sender = asyncio.ensure_future(self._send())

    async def _send(self) -> None:
        try:
            with suppress(RedisError, PoolExhaustedError):  # kept, and published when Redis is back
                await self._send_all()
        finally:
            self._sender = None

    async def _send_all(self) -> None:
        while self._unsent:
            with self._lock:
                breaker, until = next(iter(self._unsent.items()))
            keys = self._keys(breaker)
            if until is None:
                await _CLOSE(self._link, keys=keys, args=[self._channel, f"{self._me} 0 {breaker}"])
            elif (left := int((until - self._clock.monotonic()) * 1000)) > 0:
                message = f"{self._me} {left} {breaker}"
                await _OPEN(self._link, keys=keys, args=[left, self._channel, message])
            with self._lock:
                if self._unsent.get(breaker, ...) == until:
                    del self._unsent[breaker]

    async def _after_an_outage(self) -> None:
        """Publish openings for what is left of them; a closing during the outage is out of date."""
        with self._lock:
            for breaker in [each for each, until in self._unsent.items() if until is None]:
                del self._unsent[breaker]
        await self._send_all()

    # --- receiving --------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            if self._link.up:
                client = self._link.dedicated()
                try:
                    await self._receive(client)
                except Exception:  # noqa: BLE001, S110 - whatever ends a subscription, the answer is another one
                    pass
                finally:
                    self._listening = False
                    await client.aclose()
            await self._clock.sleep(_PAUSE)

    async def _receive(self, client: Redis) -> None:
        """Deliver messages until the connection is lost, or silent for two heartbeats."""
        async with client.pubsub() as channel:
            async with asyncio.timeout(_HEARTBEAT):
                await channel.subscribe(self._channel)
                await channel.get_message(
                    timeout=_HEARTBEAT
                )  # the confirmation: from here on nothing is missed
            await self._read_open()
            self._listening = True
            silent = 0
            while silent < 2:
                message: Any = await channel.get_message(timeout=_HEARTBEAT)
                if message is None:
                    silent += 1
                    await channel.ping()
                else:
                    silent = 0
                    if message["type"] == "message":
                        self._deliver(message["data"])

    async def _read_open(self) -> None:
        names = tuple(self._listeners)

        for name in names:
            key = self._keys(name)[0]
            left = await self._link.execute("PTTL", key, key=key)
            if left > 0:
                self._call(name, left / 1000)

    def _deliver(self, data: bytes) -> None:
        with suppress(ValueError):  # a message that is not ours
            process, left, breaker = data.decode().split(" ", 2)
            if process != self._me:
                self._call(breaker, int(left) / 1000)

    def _call(self, breaker: str, left: float) -> None:
        for opened, closed in self._listeners.get(breaker, ()):
            if left > 0:
                opened(left)
            else:
                closed()

    def __repr__(self) -> str:
        breakers = sorted(self._listeners)
        return f"SharedBreakers({self._link.address!r}, breakers={breakers}, listening={self._listening})"
