"""One subscription per process that passes the events of other processes to the followers here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any, Final

from prodkit.core.clock import Clock
from prodkit.core.deadline import Deadline
from prodkit.progress.memory_log import Progress

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from prodkit.redis.link import RedisLink

__all__ = ["RedisListener"]

_SILENCE: Final = 5.0
"""Seconds without a message after which a PING is sent; as long again, and the connection counts as lost."""
_PAUSE: Final = 0.2


class RedisListener:
    """Subscribes to the channel of a namespace while a topic has followers here.

    Whenever the subscription begins, all followers read the log once: what was published before is found there.

    Args:
        link: the link whose Redis is used, over a connection of its own.
        channel: the Redis channel.
        topics: the topics that have followers, at any time.
        notify: takes the topic, or None for all of them, and the event, or None where the log must be read.
        clock: waits between two attempts.
    """

    def __init__(
        self,
        link: RedisLink,
        channel: str,
        topics: Container[str],
        notify: Callable[[str | None, Progress | None], None],
        clock: Clock,
    ) -> None:
        self._link = link
        self._channel = channel
        self._topics = topics
        self._notify = notify
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        with Deadline.detached():
            self._task = asyncio.ensure_future(self._run())

    def stop(self) -> None:
        """Stop listening; the connection is closed in the background."""
        if self._task is not None and not self._task.get_loop().is_closed():
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            if self._link.up:
                client = self._link.dedicated()
                try:
                    await self._listen(client)
                except Exception:  # noqa: BLE001, S110 - whatever ended it, the answer is a new connection
                    pass
                finally:
                    await client.aclose()
                self._notify(None, None)
            await self._clock.sleep(_PAUSE)

    async def _listen(self, client: Redis) -> None:
        async with client.pubsub() as subscription:
            async with asyncio.timeout(_SILENCE):
                await subscription.subscribe(self._channel)
            asked = False
            while True:
                message: Any = await subscription.get_message(timeout=_SILENCE)
                if message is None:
                    if asked:
                        return
                    asked = True
                    await subscription.ping()
                    continue
                asked = False
                if message["type"] == "subscribe":
                    self._notify(None, None)
                elif message["type"] == "message":
                    self._pass_on(message["data"])

    def _pass_on(self, message: bytes | str) -> None:
        raw = message.encode() if isinstance(message, str) else message
        head, _, rest = raw.partition(b"\n")
        number, name, size, whole = head.decode().split(" ")
        topic = rest[: int(size)].decode()
        if topic not in self._topics:
            return
        if whole == "1":
            self._notify(topic, Progress(int(number), name, json.loads(rest[int(size) :])))
        else:
            self._notify(topic, None)
