"""The log behind a channel: numbered events of a topic, kept for readers who reconnect."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments

__all__ = ["LATEST", "RESYNC", "Latest", "Log", "MemoryLog", "Page", "Progress", "Source"]

RESYNC: Final = "resync"
"""The name of the event that replaces events no longer kept: load the whole state, then follow."""
LATEST: Final = 32
"""Event names of a topic whose latest event is kept apart from the ring, so that a terminal event outlives it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a topic.

    Args:
        id: 1, 2, 3… without gaps within the topic.
        name: 1 to 64 letters, digits or ``_.:-``.
        data: a JSON value.
    """

    id: int
    name: str
    data: Any


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a topic.

    Args:
        events: in order of their ids.
        newest: the highest id that the topic has given out; 0 for an unknown topic.
    """

    events: tuple[Progress, ...]
    newest: int


@runtime_checkable
class Source(Protocol):
    """Read access to events: all that a channel needs to replay and to follow.

    An app whose events are rows of its own tables implements only this::

        class RunEvents:
            async def read(self, topic, after, limit):
                rows = await db.fetch("select … where run_id = $1 and seq > $2 order by seq limit $3", topic, …)
                return Page(tuple(Progress(r["seq"], r["kind"], r["data"]) for r in rows), newest)
    """

    async def read(self, topic: str, after: int, limit: int) -> Page:
        """Return at most `limit` events of `topic` with an id above `after`, oldest first, if still kept."""
        ...


@runtime_checkable
class Log(Source, Protocol):
    """A source that a channel can also publish to."""

    async def append(self, topic: str, name: str, data: Any) -> Progress:
        """Add the event `name` with `data` to `topic` under the next id."""
        ...


@runtime_checkable
class Latest(Protocol):
    """A source that keeps the latest event of each name, whatever its ring has dropped."""

    async def latest(self, topic: str, names: Collection[str]) -> Progress | None:
        """Return the latest event of `topic` whose name is one of `names`."""
        ...


def _id(event: Progress) -> int:
    return event.id


class _Topic:
    __slots__ = ("events", "latest", "newest", "tags", "touched")

    def __init__(self) -> None:
        self.events: list[Progress] = []
        self.latest: dict[str, Progress] = {}
        self.newest = 0
        self.touched = 0.0
        self.tags: dict[int, str] = {}


class MemoryLog:
    """The latest events of each topic, in this process.

    The latest event of each name is kept beside the ring, so that a terminal event such as ``done`` is delivered
    however many events follow it.

    Args:
        keep: events kept for each topic.
        ttl: seconds after its last event until a topic is forgotten.
        max_topics: topics kept; beyond them the one without events for longest is forgotten.
        runtime: clock to use.
    """

    def __init__(
        self, *, keep: int = 500, ttl: float = 3600.0, max_topics: int = 10_000, runtime: Runtime = SYSTEM
    ) -> None:
        check = Arguments("MemoryLog")
        check.integer("keep", keep, minimum=1)
        check.seconds("ttl", ttl)
        check.integer("max_topics", max_topics, minimum=1)
        check.done()
        self.keep: int = keep
        self.ttl: float = ttl
        self.max_topics: int = max_topics
        self._runtime = runtime
        self._topics: dict[str, _Topic] = {}  # the topic without events for longest comes first

    async def append(self, topic: str, name: str, data: Any) -> Progress:
        """Add the event `name` with `data` to `topic` under the next id."""
        return self.put(topic, self.newest(topic) + 1, name, data)

    def put(self, topic: str, number: int, name: str, data: Any, *, tag: str = "") -> Progress:
        """Add an event whose id is given; an id that is not above the newest one adds nothing.

        Args:
            topic: the topic.
            number: the event's id.
            name: the event's name.
            data: a JSON value.
            tag: kept with the id, see :meth:`tags`.
        """
        kept = self._topics.pop(topic, None) or _Topic()
        self._sweep()
        self._topics[topic] = kept
        event = Progress(number, name, data)
        if number > kept.newest:
            kept.newest = number
            kept.events.append(event)
            if tag:
                kept.tags[number] = tag
            if len(kept.events) >= 2 * self.keep:  # one copy per `keep` events instead of one per event
                del kept.events[: -self.keep]
                kept.tags = {each.id: kept.tags[each.id] for each in kept.events if each.id in kept.tags}
            kept.latest.pop(name, None)
            kept.latest[name] = event
            if len(kept.latest) > LATEST:
                del kept.latest[next(iter(kept.latest))]
        kept.touched = self._runtime.clock.monotonic()
        return event

    def newest(self, topic: str) -> int:
        """Return the highest id given out in `topic`; 0 for an unknown topic."""
        kept = self._topics.get(topic)
        return kept.newest if kept is not None else 0

    def topics(self) -> list[str]:
        """Return the names of the topics that are kept, the one with the latest event last."""
        return list(self._topics)

    def names(self, topic: str) -> list[str]:
        """Return the event names of `topic` whose latest event is kept."""
        kept = self._topics.get(topic)
        return [] if kept is None else list(kept.latest)

    def tags(self, topic: str) -> dict[int, str]:
        """Return the tags of `topic` by id."""
        kept = self._topics.get(topic)
        return {} if kept is None else kept.tags

    def forget(self, topic: str) -> None:
        """Drop `topic` with its events and its numbering."""
        self._topics.pop(topic, None)

    async def read(self, topic: str, after: int, limit: int) -> Page:
        """Return at most `limit` events of `topic` with an id above `after`, oldest first, if still kept."""
        return self.page(topic, after, limit)

    def page(self, topic: str, after: int, limit: int) -> Page:
        """Return what :meth:`read` returns for `topic`, `after` and `limit`, without a coroutine."""
        kept = self._topics.get(topic)
        if kept is None:
            return Page((), 0)
        if kept.newest <= after:
            return Page((), kept.newest)
        first = max(bisect_right(kept.events, after, key=_id), len(kept.events) - self.keep)
        return Page(tuple(kept.events[first : first + limit]), kept.newest)

    async def latest(self, topic: str, names: Collection[str]) -> Progress | None:
        """Return the latest event of `topic` whose name is one of `names`."""
        return self.find_latest(topic, names)

    def find_latest(self, topic: str, names: Collection[str]) -> Progress | None:
        """Return what :meth:`latest` returns for `topic` and `names`, without a coroutine."""
        kept = self._topics.get(topic)
        if kept is None:
            return None
        return max((kept.latest[name] for name in names if name in kept.latest), key=_id, default=None)

    def _sweep(self) -> None:
        old = self._runtime.clock.monotonic() - self.ttl
        while self._topics:
            first = next(iter(self._topics))
            if self._topics[first].touched > old and len(self._topics) < self.max_topics:
                return
            del self._topics[first]

    def __repr__(self) -> str:
        return f"MemoryLog(keep={self.keep}, topics={len(self._topics)})"
