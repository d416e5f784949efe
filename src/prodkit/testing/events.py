"""A log of events, so that a test can assert what a part emitted."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from prodkit.core.events import Event, EventStream

__all__ = ["EventLog"]

E = TypeVar("E", bound=Event)


class EventLog:
    """Records what is emitted on `events`, from now until :meth:`close`.

    ::

        with EventLog(runtime.events) as log:
            ...
        assert log.names == ["retry.scheduled", "breaker.opened"]
        assert log.only(BreakerOpened).breaker == "perplexity"

    Args:
        events: the stream to listen to, such as ``runtime.events``.
        kinds: event classes to record; all of them when none is given.
    """

    def __init__(self, events: EventStream, *kinds: type[Event]) -> None:
        self._events: list[Any] = []
        self._unsubscribe = events.subscribe(self._events.append, *kinds)

    @property
    def names(self) -> list[str]:
        """The names of all events, in order."""
        return [event.name for event in self._events]

    def of(self, kind: type[E]) -> list[E]:
        """The events of one class, in order."""
        return [event for event in self._events if isinstance(event, kind)]

    def only(self, kind: type[E]) -> E:
        """The one event of this class. Raises AssertionError when there is none or more than one."""
        found = self.of(kind)
        if len(found) != 1:
            raise AssertionError(f"expected one {kind.__name__}, found {len(found)} in {self.names}")
        return found[0]

    def clear(self) -> None:
        """Forgets what was recorded."""
        self._events.clear()

    def close(self) -> None:
        """Stops recording; what was recorded stays."""
        self._unsubscribe()

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Any]:
        return iter(tuple(self._events))

    def __getitem__(self, index: int) -> Any:
        return self._events[index]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"EventLog({self.names})"
