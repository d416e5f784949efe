"""One stream on which every part tells what it did.

Events are frozen dataclasses that carry names, sizes and durations; never arguments, values or secrets. Whoever
wants logs, metrics or traces subscribes. A subscriber cannot break the guarded call: its exception is counted in
:attr:`EventStream.failures` and goes no further.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["Event", "EventStream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events. A subclass names itself ``<module>.<past tense>``::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class BreakerOpened(Event):
        name = "breaker.opened"
        breaker: str
    """

    name: ClassVar[str] = "event"


class EventStream:
    """Subscribers, called in order of subscription and in the emitter's own task or thread.

    ``listened`` is a plain attribute: ``if events.listened:`` guards the construction of an event, so that a part
    nobody listens to pays one attribute read.
    """

    __slots__ = ("_subscribers", "failures", "listened")

    def __init__(self) -> None:
        self._subscribers: tuple[tuple[Callable[[Any], object], tuple[type[Event], ...]], ...] = ()
        self.listened = False
        self.failures = 0

    def subscribe(self, subscriber: Callable[[Any], object], *kinds: type[Event]) -> Callable[[], None]:
        """Calls `subscriber` with every event of `kinds` (all events when none is given).

        It must return quickly and must not wait. Returns the function that ends the subscription, which may be
        called more than once.
        """
        entry = (subscriber, kinds or (Event,))
        self._subscribers = (*self._subscribers, entry)
        self.listened = True

        def unsubscribe() -> None:
            self._subscribers = tuple(each for each in self._subscribers if each is not entry)
            self.listened = bool(self._subscribers)

        return unsubscribe

    def emit(self, event: Event) -> None:
        """Hands `event` to its subscribers. State is settled before this is called."""
        for subscriber, kinds in self._subscribers:
            if isinstance(event, kinds):
                try:
                    subscriber(event)
                except Exception:  # noqa: BLE001 - a listener must not break the call it listens to
                    self.failures += 1

    def __repr__(self) -> str:
        return f"EventStream(subscribers={len(self._subscribers)}, failures={self.failures})"
