"""The log behind a channel: numbered events of a topic, kept for those who come back."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from prodkit.core.runtime import SYSTEM, Runtime

__all__ = ["RESYNC", "Log", "MemoryLog", "Page", "Progress", "Source"]

RESYNC: Final = "resync"
"""The name of the event that says: what you missed is not kept any more, load the whole state."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a topic. Ids count 1, 2, 3… without gaps within the topic; `data` is JSON."""

    id: int
    name: str
    data: Any


@dataclass(frozen=True, slots=True)
class Page:
    """Events in order, and the highest id that the topic has given out (0 where nothing is known of it)."""

    events: tuple[Progress, ...]
    newest: int


@runtime_checkable
class Source(Protocol):
    """Where events can be read: all that a channel needs to replay and to follow.

    An app whose events are rows of its own tables implements only this::

        class RunEvents:
            async def read(self, topic, after, limit):
                rows = await db.fetch("select … where run_id = $1 and seq > $2 order by seq limit $3", topic, …)
                return Page(tuple(Progress(r["seq"], r["kind"], r["data"]) for r in rows), newest)
    """

    async def read(self, topic: str, after: int, limit: int) -> Page:
        """At most `limit` events with an id above `after`, oldest first. Those no longer kept are left out."""
        ...


@runtime_checkable
class Log(Source, Protocol):
    """A source that a channel can also publish to."""

    async def append(self, topic: str, name: str, data: Any) -> Progress:
        """Adds an event under the next id."""
        ...


class _Topic:
    __slots__ = ("events", "newest", "touched")

    def __init__(self, keep: int) -> None:
        self.events: deque[Progress] = deque(maxlen=keep)
        self.newest = 0
        self.touched = 0.0


class MemoryLog:
    """The latest `keep` events of each topic, in this process.

    A topic is forgotten `ttl` seconds after its last event, or when there are more than `max_topics`.
    """

    def __init__(
        self, *, keep: int = 500, ttl: float = 3600.0, max_topics: int = 10_000, runtime: Runtime = SYSTEM
    ) -> None:
        problems = [
            f"{what} must be positive, got {value!r}"
            for what, value in (("keep", keep), ("ttl", ttl), ("max_topics", max_topics))
            if not value > 0
        ]
        if problems:
            raise ValueError("; ".join(problems))
        self.keep = keep
        self.ttl = ttl
        self.max_topics = max_topics
        self._runtime = runtime
        self._topics: dict[str, _Topic] = {}  # the longest untouched first

    async def append(self, topic: str, name: str, data: Any) -> Progress:
        return self.put(topic, self.newest(topic) + 1, name, data)

    def put(self, topic: str, number: int, name: str, data: Any) -> Progress:
        """Adds an event whose id somebody else gave; ids only grow."""
        self._sweep()
        kept = self._topics.pop(topic, None) or _Topic(self.keep)
        self._topics[topic] = kept
        event = Progress(number, name, data)
        if number > kept.newest:
            kept.events.append(event)
            kept.newest = number
        kept.touched = self._runtime.clock.monotonic()
        return event

    def newest(self, topic: str) -> int:
        """The highest id given out in `topic`, 0 where nothing is known of it."""
        kept = self._topics.get(topic)
        return kept.newest if kept is not None else 0

    async def read(self, topic: str, after: int, limit: int) -> Page:
        kept = self._topics.get(topic)
        if kept is None:
            return Page((), 0)
        if kept.newest <= after:
            return Page((), kept.newest)
        return Page(tuple([event for event in kept.events if event.id > after][:limit]), kept.newest)

    def _sweep(self) -> None:
        old = self._runtime.clock.monotonic() - self.ttl
        while self._topics:
            first = next(iter(self._topics))
            if self._topics[first].touched > old and len(self._topics) < self.max_topics:
                return
            del self._topics[first]

    def __repr__(self) -> str:
        return f"MemoryLog(keep={self.keep}, topics={len(self._topics)})"
