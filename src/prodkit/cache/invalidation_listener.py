"""Receive invalidation messages: Redis says which keys other processes have changed.

A connection of its own tracks the namespace (``CLIENT TRACKING … BCAST``, RESP3). While it lives, values read since it
became ready may be served from memory for their whole life; when it is lost or silent, they are asked about before
their next use. Its messages also mark the reads in flight, whose replies may be older than the change.

On a cluster each primary has a connection, and changes count as heard while all of them live. The primaries are looked
up once a second: when there are others, everything begins again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from prodkit.core.clock import Clock
from prodkit.core.deadline import Deadline
from prodkit.redis.link import RedisLink
from prodkit.redis.redis_internals import on_invalidation

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["InvalidationListener", "Listener"]

_HEARTBEAT: Final = (
    1.0  # after one of silence a PING is sent, after another one the connection counts as lost
)
_PAUSE: Final = 0.2
_LONG_PAUSE: Final = 30.0  # where the server refuses to track


class Listener(Protocol):
    """The receiver of invalidation messages."""

    async def prepare(self) -> None:
        """Make the versions of the namespace, so that their making is not heard as a change."""
        ...

    def on_ready(self) -> None:
        """Every change is heard from here on."""
        ...

    def on_lost(self) -> None:
        """Changes may be missed from here on."""
        ...

    def on_change(self, name: str) -> None:
        """The Redis key `name` (without the namespace) has changed, or expired."""
        ...

    def on_flush(self) -> None:
        """Everything has changed."""
        ...


class InvalidationListener:
    """The tracking connection of one cache.

    Args:
        link: the link to Redis.
        namespace: the prefix of the keys to track.
        clock: for the pauses between connections.
        listener: the receiver.
    """

    def __init__(self, link: RedisLink, namespace: str, clock: Clock, listener: Listener) -> None:
        self._link = link
        self._prefix = (f"{{{namespace}:" if link.cluster else f"{namespace}:").encode()
        self._to_be_ready = 0
        self._clock = clock
        self._listener = listener
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect in the background."""
        if self._task is None:
            with Deadline.detached():
                self._task = asyncio.ensure_future(self._run())

    async def aclose(self) -> None:
        """Close the connection."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        from redis.exceptions import ResponseError

        while True:
            pause = _PAUSE
            if self._link.up:
                try:
                    await self._track_all()
                except ResponseError:
                    pause = _LONG_PAUSE  # an old server, a missing permission, or RESP2
                except Exception:  # noqa: BLE001, S110 - whatever ends it, the answer is a new connection
                    pass
                finally:
                    self._listener.on_lost()
            await self._clock.sleep(pause)

    async def _track_all(self) -> None:
        """Deliver messages until a connection is lost, or the cluster has other primaries."""
        await self._listener.prepare()
        nodes: tuple[tuple[str, int] | None, ...] = (None,)
        if self._link.cluster:
            nodes = await self._link.primaries()
        self._to_be_ready = len(nodes)
        works = [asyncio.ensure_future(self._track(node)) for node in nodes]
        if self._link.cluster:
            works.append(asyncio.ensure_future(self._watch_primaries(nodes)))
        try:
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
        for work in done:
            work.result()

    async def _watch_primaries(self, nodes: tuple[tuple[str, int] | None, ...]) -> None:
        while await self._link.primaries() == nodes:
            await self._clock.sleep(_HEARTBEAT)

    async def _track(self, node: tuple[str, int] | None) -> None:
        """Deliver messages of one server until its connection is lost."""
        client = self._link.dedicated(node)
        try:
            await self._receive(client)
        finally:
            await client.aclose()

    async def _receive(self, client: Redis) -> None:
        pool: Any = client.connection_pool
        heard = _Heard()

        async def on_push(message: list[Any]) -> None:
            heard.something = True
            self._deliver(message[1])

        async with asyncio.timeout(2 * _HEARTBEAT):
            connection: Any = await pool.get_connection()
        try:
            on_invalidation(connection, on_push)
            async with asyncio.timeout(2 * _HEARTBEAT):
                await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix)
                await connection.read_response()
            self._to_be_ready -= 1
            if not self._to_be_ready:
                self._listener.on_ready()
            asked = False
            while True:
                answer = await connection.read_response(
                    push_request=True, timeout=_HEARTBEAT, disconnect_on_error=False
                )
                if heard.something or answer is not None:
                    heard.something = asked = False
                elif asked:
                    return
                else:
                    asked = True
                    async with asyncio.timeout(_HEARTBEAT):
                        await connection.send_command("PING")
        finally:
            await connection.disconnect(nowait=True)
            await pool.release(connection)

    def _deliver(self, keys: list[bytes] | None) -> None:
        if keys is None:
            self._listener.on_flush()
            return
        for key in keys:
            if key.startswith(self._prefix):
                name = key[len(self._prefix) :]
                if self._link.cluster:  # {namespace:07}:v:key
                    name = name.partition(b"}:")[2]
                self._listener.on_change(name.decode("utf-8", "surrogatepass"))


class _Heard:
    """Set by the handler of messages, which runs inside the reading of a reply."""

    __slots__ = ("something",)

    def __init__(self) -> None:
        self.something = False
