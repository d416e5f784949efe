"""Publish the progress of a piece of work and follow it from any point.

In a handler: ``web.EventStream(channel.subscribe(topic, after=web.last_event_id(request), until={"done"}))``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Collection, Container, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from prodkit.core.check import CheckResult
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.progress.memory_log import RESYNC, Latest, Log, MemoryLog, Progress, Source
from prodkit.progress.sse import check_name

if TYPE_CHECKING:
    from prodkit.redis.link import RedisLink

__all__ = ["Channel", "Pushing"]


@runtime_checkable
class Pushing(Protocol):
    """A log that reports the events of other processes, so that its followers need not poll."""

    def listen(
        self, topics: Container[str], notify: Callable[[str | None, Progress | None], None]
    ) -> Callable[[], None]:
        """Call ``notify(topic, event)`` for new events of `topics`, and return the function that ends it.

        Args:
            topics: the topics that have followers, at any time.
            notify: takes the topic, or None for all of them, and the event, or None where the log must be read.
        """
        ...


class _Follower:
    """One subscriber: its position, and the future it waits on while it has everything."""

    __slots__ = ("behind", "position", "waiter")

    def __init__(self) -> None:
        self.position = 0
        self.behind = True
        self.waiter: asyncio.Future[Progress | None] | None = None

    def offer(self, event: Progress | None) -> None:
        """Hand over the next event, or None to make the follower read the log."""
        waiter = self.waiter
        if waiter is None or waiter.done():
            self.behind = True  # it is busy with an earlier event
        elif event is None or event.id > self.position + 1:
            waiter.set_result(None)
        elif event.id == self.position + 1:
            waiter.set_result(event)


class Channel:
    """Topics of numbered events, which are replayed to late readers and streamed to present ones.

    ::

        channel = progress.Channel(redis)
        await channel.publish("run:7", "expert.finished", {"done": 2, "of": 3})
        async for event in channel.subscribe("run:7", after=0, until={"done"}):
            ...

    Followers in the publishing process get an event at once; over Redis one subscription per process passes the
    events of other processes on. A source of your own is polled, and read at once after :meth:`wake`, for instance
    from a ``LISTEN``.

    Args:
        redis: a RedisLink; None, or one that is not configured, keeps everything in this process.
        log: a source of your own instead of `redis`, such as a table that your work writes in its own
            transactions. Without an ``append`` the channel only follows.
        keep: events of each topic that can be replayed.
        ttl: seconds after its last event until a topic is forgotten.
        poll: seconds between two reads of a source of your own. Memory and Redis are not polled.
        batch: events read at a time.
        namespace: prefix of the Redis keys; services that share a Redis take different ones.
        runtime: clock to use.
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
        check = Arguments("Channel")
        check.integer("keep", keep, minimum=1)
        check.seconds("ttl", ttl)
        check.seconds("poll", poll)
        check.integer("batch", batch, minimum=1)
        check.text("namespace", namespace)
        check.that(log is None or redis is None, "give either redis or log")
        check.done()
        self.name: str = namespace
        self._link = redis if redis is not None and redis.configured else None
        self._batch = batch
        self._followers: dict[str, set[_Follower]] = {}
        self._stop: Callable[[], None] | None = None
        if log is not None:
            self._log = log
        elif redis is not None and redis.configured:
            from prodkit.progress.redis_log import RedisLog

            self._log = RedisLog(redis, keep=keep, ttl=ttl, namespace=namespace, runtime=runtime)
        else:
            self._log = MemoryLog(keep=keep, ttl=ttl, runtime=runtime)
        self._poll = None if isinstance(self._log, (MemoryLog, Pushing)) else poll

    async def publish(self, topic: str, name: str, data: Any = None) -> Progress:
        """Add an event to `topic` and hand it to the followers in this process.

        Args:
            topic: the piece of work, such as ``run:7``.
            name: 1 to 64 letters, digits or ``_.:-``.
            data: a JSON value.

        Raises:
            ValueError: the name is no event name, or the data is not JSON; nothing is written.
            TypeError: the data is not JSON, or the source has no ``append``.
        """
        if not isinstance(self._log, Log):
            raise TypeError(f"{type(self._log).__name__} has no append: publish where its events are written")
        check_name(name)
        if name == RESYNC:
            raise ValueError(f"{RESYNC!r} is reserved: the channel itself sends it")
        # A copy: changes that the caller makes later are not part of the history.
        data = json.loads(json.dumps(data, allow_nan=False))
        event = await self._log.append(topic, name, data)
        self._notify(topic, event)
        return event

    def wake(self, topic: str) -> None:
        """Make the followers of `topic` in this process read the log now. Call it on the event loop."""
        self._notify(topic, None)

    async def subscribe(
        self, topic: str, *, after: int | None = 0, until: Collection[str] = ()
    ) -> AsyncGenerator[Progress, None]:
        """Yield every event after id `after`, in order and each once, then new ones as they come.

        When the events in between are no longer kept, one event named ``resync`` replaces them: load the whole
        state. Where the topic has ended, the terminal event follows the ``resync``::

            log   … 17 18 19 20 done(21)      keep=5, reader is at 3
            yields  resync(20)  done(21)      the id of resync is one below, so that a reader cut off between
                                              the two reconnects to the terminal event

        A slow subscriber costs no memory: events wait in the log. A subscriber that leaves early closes the
        generator.

        Args:
            topic: the piece of work.
            after: id of the last event that the reader has. 0 begins with the first event, None with the next one,
                or with the terminal event of a topic that has ended.
            until: names of terminal events. The iteration ends after one of them, and at once when `after` is the
                id of the last event and that is a terminal one.
        """
        if after is not None and after < 0:
            raise ValueError(f"after is an event id or None, got {after!r}")
        until = frozenset((until,) if isinstance(until, str) else until)
        follower = _Follower()
        self._join(topic, follower)
        try:
            if after is None:
                newest = (await self._log.read(topic, 0, 1)).newest
                last = await self._terminal(topic, until, newest)
                follower.position = newest - 1 if last is not None and last.id == newest else newest
            else:
                follower.position = after
                if until and after and await self._ended(topic, until, after):
                    return
            loop = asyncio.get_running_loop()
            while True:
                if follower.behind:
                    follower.behind = False  # before the read: an event that comes during it sets this again
                    page = await self._log.read(topic, follower.position, self._batch)
                    if page.newest == follower.position:
                        continue
                    follower.behind = True
                    following, last = _contiguous(page.events, follower.position + 1), None
                    if not following:  # a gap, or the log lost events that this reader has
                        last = await self._terminal(topic, until, page.newest)
                        follower.position = page.newest if last is None else last.id - 1
                        yield Progress(follower.position, RESYNC, None)
                        following = [] if last is None else [last]
                    for event in following:
                        follower.position = event.id
                        yield event
                        if event.name in until:
                            return
                    continue
                waiter = follower.waiter = loop.create_future()
                try:
                    found = await (waiter if self._poll is None else _within(waiter, self._poll))
                finally:
                    follower.waiter = None
                if found is None:
                    follower.behind = True
                    continue
                follower.position = found.id
                yield found
                if found.name in until:
                    return
        finally:
            self._leave(topic, follower)

    async def _ended(self, topic: str, until: frozenset[str], after: int) -> bool:
        """Return True when `after` is the id of the terminal event and nothing came after it."""
        if (await self._log.read(topic, after, 1)).newest != after:
            return False
        last = await self._terminal(topic, until, after)
        return last is not None and last.id == after

    async def _terminal(self, topic: str, until: frozenset[str], newest: int) -> Progress | None:
        """Return the terminal event of a topic that has ended."""
        if not until or newest < 1:
            return None
        if isinstance(self._log, Latest):
            return await self._log.latest(topic, until)
        page = await self._log.read(topic, newest - 1, 1)
        return next((event for event in page.events if event.name in until), None)

    def _join(self, topic: str, follower: _Follower) -> None:
        self._followers.setdefault(topic, set()).add(follower)
        if self._stop is None and isinstance(self._log, Pushing):
            self._stop = self._log.listen(self._followers, self._notify)

    def _leave(self, topic: str, follower: _Follower) -> None:
        followers = self._followers[topic]
        followers.discard(follower)
        if not followers:
            del self._followers[topic]
        if not self._followers and self._stop is not None:
            stop, self._stop = self._stop, None
            stop()

    def _notify(self, topic: str | None, event: Progress | None) -> None:
        if topic is not None:
            for follower in self._followers.get(topic, ()):
                follower.offer(event)
            return
        for followers in self._followers.values():
            for follower in followers:
                follower.offer(None)

    async def check(self) -> CheckResult:
        """Return ``degraded`` while Redis is away: followers then see the events of this process only."""
        details: dict[str, object] = {
            "topics": len(self._followers),
            "followers": sum(map(len, self._followers.values())),
        }
        if self._link is None:
            own = "" if not isinstance(self._log, MemoryLog) else "in the memory of this process only"
            return CheckResult("up", own, details)
        found = await self._link.check()
        reason = "events of this process only: Redis is away" if found.status != "up" else ""
        return CheckResult(found.status, reason, details)

    def __repr__(self) -> str:
        return f"Channel({self._log!r}, following={len(self._followers)})"


def _contiguous(events: Sequence[Progress], first: int) -> Sequence[Progress]:
    """Return the events that follow each other without a gap from id `first`."""
    if not events or events[0].id != first:
        return ()
    if events[-1].id == first + len(events) - 1:
        return events
    return [event for position, event in enumerate(events, first) if event.id == position]


async def _within(waiter: asyncio.Future[Progress | None], seconds: float) -> Progress | None:
    try:
        async with asyncio.timeout(seconds):
            return await waiter
    except TimeoutError:
        return None
