"""Publish what was done; follow it from any point.

In a handler: ``web.EventStream(channel.subscribe(topic, after=web.last_event_id(request), until={"done"}))``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Collection
from typing import TYPE_CHECKING, Any

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.progress.memory_log import RESYNC, Log, MemoryLog, Progress, Source
from prodkit.progress.sse import check_name

if TYPE_CHECKING:
    from prodkit.redis.link import RedisLink

__all__ = ["Channel"]


class Channel:
    """Topics of numbered events.

    ::

        channel = progress.Channel(redis)
        await channel.publish("run:7", "expert.finished", {"done": 2, "of": 3})
        async for event in channel.subscribe("run:7", after=0, until={"done"}):
            ...

    `redis` is a RedisLink; None, or one that is not configured, keeps everything in this process. `keep` events a
    topic can be replayed for `ttl` seconds. `log` replaces both by a source of your own, such as a table that
    your work writes in its own transactions; without an ``append`` the channel then only follows.

    Who publishes in this process wakes its subscribers at once. What others publish is seen within `poll` seconds,
    or when somebody calls :meth:`wake`, for instance a ``LISTEN`` of yours.
    """

    def __init__(
        self,
        redis: RedisLink | None = None,
        *,
        log: Source | None = None,
        keep: int = 500,
        ttl: float = 3600.0,
        poll: float = 0.5,
        batch: int = 100,
        namespace: str = "progress",
        runtime: Runtime = SYSTEM,
    ) -> None:
        problems = [
            f"{what} must be positive, got {value!r}"
            for what, value in (("keep", keep), ("ttl", ttl), ("poll", poll), ("batch", batch))
            if not value > 0
        ]
        if log is not None and redis is not None:
            problems.append("give either redis or log")
        if problems:
            raise ValueError("Channel: " + "; ".join(problems))
        self._poll = poll
        self._batch = batch
        self._woken: dict[str, set[asyncio.Event]] = {}
        if log is not None:
            self._log = log
        elif redis is not None and redis.configured:
            from prodkit.progress.redis_log import RedisLog

            self._log = RedisLog(redis, keep=keep, ttl=ttl, namespace=namespace, runtime=runtime)
        else:
            self._log = MemoryLog(keep=keep, ttl=ttl, runtime=runtime)

    async def publish(self, topic: str, name: str, data: Any = None) -> Progress:
        """Adds an event to `topic` and wakes who follows it here. `data` is JSON.

        Raises TypeError or ValueError for what is not JSON or no event name, before anything is written.
        """
        if not isinstance(self._log, Log):
            raise TypeError(f"{type(self._log).__name__} has no append: publish where its events are written")
        check_name(name)
        if name == RESYNC:
            raise ValueError(f"{RESYNC!r} is what the channel itself says")
        data = json.loads(
            json.dumps(data, allow_nan=False)
        )  # a copy: what the caller changes later is not history
        event = await self._log.append(topic, name, data)
        self.wake(topic)
        return event

    def wake(self, topic: str) -> None:
        """Makes the subscribers of `topic` in this process look now. Call it on the event loop."""
        for event in self._woken.get(topic, ()):
            event.set()

    async def subscribe(
        self, topic: str, *, after: int | None = 0, until: Collection[str] = ()
    ) -> AsyncGenerator[Progress, None]:
        """Every event after id `after`, in order, none twice, then the new ones as they come.

        0 begins at the first event, None with the next one. When the events in between are no longer kept, one
        event named ``resync`` takes their place: its id is the newest one, so load the whole state and go on. Ends
        after an event whose name is in `until`; the subscriber who leaves early closes the generator.

        A slow subscriber costs no memory: events wait in the log.
        """
        if after is not None and after < 0:
            raise ValueError(f"after is an event id or None, got {after!r}")
        woken = asyncio.Event()
        self._woken.setdefault(topic, set()).add(woken)
        try:
            position = after if after is not None else (await self._log.read(topic, 0, 1)).newest
            while True:
                woken.clear()
                page = await self._log.read(topic, position, self._batch)
                if page.newest < position:  # the log lost what this reader has already seen
                    position = page.newest
                    yield Progress(position, RESYNC, None)
                elif page.newest > position:
                    for event in page.events:
                        if event.id != position + 1:
                            break
                        position = event.id
                        yield event
                        if event.name in until:
                            return
                    else:
                        if page.events:
                            continue
                    position = page.newest
                    yield Progress(position, RESYNC, None)
                else:
                    await self._wait(woken)
        finally:
            waiting = self._woken[topic]
            waiting.discard(woken)
            if not waiting:
                del self._woken[topic]

    async def _wait(self, woken: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(None if isinstance(self._log, MemoryLog) else self._poll):
                await woken.wait()
        except TimeoutError:
            return

    def __repr__(self) -> str:
        return f"Channel({self._log!r}, following={len(self._woken)})"
