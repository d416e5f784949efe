"""Memory that hears from Redis what others have changed.

A connection of its own tracks the namespace (``CLIENT TRACKING … BCAST``, RESP3). While it lives, what was
read since it was armed may be served from memory for its whole life; when it is lost, or silent, memory
falls back to ``max_staleness``. Its messages also mark the reads under way, whose answer may be older than
the change.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from prodkit.core.clock import Clock
from prodkit.core.deadline import Deadline
from prodkit.redis.link import RedisLink

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["Coherence", "Hears"]

_HEARTBEAT: Final = (
    1.0  # after one of silence a PING is sent, after another one the connection counts as lost
)
_PAUSE: Final = 0.2
_LONG_PAUSE: Final = 30.0  # where the server refuses to track


class Hears(Protocol):
    """Who is told."""

    def armed(self) -> None:
        """From here on every change is heard."""
        ...

    def lost(self) -> None:
        """Changes may be missed from here on."""
        ...

    def changed(self, name: str) -> None:
        """The Redis key `name` (without the namespace) has changed, or ended."""
        ...

    def flushed(self) -> None:
        """Everything has changed."""
        ...


class Coherence:
    """The tracking connection of one cache."""

    def __init__(self, link: RedisLink, namespace: str, clock: Clock, hears: Hears) -> None:
        self._link = link
        self._prefix = f"{namespace}:".encode()
        self._clock = clock
        self._hears = hears
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            with Deadline.detached():
                self._task = asyncio.ensure_future(self._run())

    async def aclose(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        from redis.exceptions import ResponseError

        while True:
            pause = _PAUSE
            if self._link.up:
                client = self._link.dedicated()
                try:
                    await self._track(client)
                except ResponseError:
                    pause = _LONG_PAUSE  # an old server, a missing permission, RESP2
                except Exception:  # noqa: BLE001, S110 - whatever ends it, the answer is a new connection
                    pass
                finally:
                    self._hears.lost()
                    await client.aclose()
            await self._clock.sleep(pause)

    async def _track(self, client: Redis) -> None:
        """Until the connection is lost. What redis-py offers for this is below its public face, hence the
        Any.
        """
        pool: Any = client.connection_pool
        async with asyncio.timeout(2 * _HEARTBEAT):
            connection: Any = await pool.get_connection()
        try:
            connection._parser.set_invalidation_push_handler(self._on_push)
            async with asyncio.timeout(2 * _HEARTBEAT):
                await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix)
                await connection.read_response()
            self._hears.armed()
            asked = False
            while True:
                answer = await connection.read_response(
                    push_request=True, timeout=_HEARTBEAT, disconnect_on_error=False
                )
                if self._heard or answer is not None:
                    self._heard = asked = False
                elif asked:
                    return
                else:
                    asked = True
                    async with asyncio.timeout(_HEARTBEAT):
                        await connection.send_command("PING")
        finally:
            await connection.disconnect(nowait=True)
            await pool.release(connection)

    _heard = False

    async def _on_push(self, message: list[Any]) -> None:
        self._heard = True
        keys: list[bytes] | None = message[1]
        if keys is None:
            self._hears.flushed()
            return
        for key in keys:
            if key.startswith(self._prefix):
                self._hears.changed(key[len(self._prefix) :].decode("utf-8", "surrogatepass"))
