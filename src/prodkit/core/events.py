"""Event stream: every part reports what it did on one stream.

Events are frozen dataclasses that carry names, sizes and durations; never arguments, values or secrets. Logs,
metrics, traces and the console subscribe to the stream and read nothing else. A subscriber cannot break the guarded
call: its exception is counted in :attr:`EventStream.failures` and goes no further.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, TypeAlias

__all__ = ["Event", "EventStream", "Level", "Metric", "Metrics"]

Level: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
"""DEBUG: part of normal work. INFO: a change worth keeping. WARNING: a degradation. ERROR: something was lost."""

_NUMBERS: Final = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
}


@dataclass(frozen=True, slots=True)
class Metric:
    """The measurement that an event class feeds.

    Args:
        name: in snake case, without the prefix ``prodkit_`` and without a suffix of the exporter (``_total``).
        kind: a ``counter`` grows by `value` (1 where `value` is empty), a ``histogram`` observes `value`, a ``gauge``
            is set to it.
        labels: fields of the event whose values label the measurement. Only fields with few possible values:
            names given by the developer, states and reasons; never a path, a key or a message.
        value: the field that is counted or observed; an event whose field is None feeds nothing.
        unit: ``seconds``, ``bytes``, ``tokens``, ``dollars`` or empty.
        help: one sentence for people who read the metric.
    """

    name: str
    kind: Literal["counter", "histogram", "gauge"] = "counter"
    labels: tuple[str, ...] = ()
    value: str = ""
    unit: str = ""
    help: str = ""


Metrics: TypeAlias = Metric | tuple[Metric, ...] | None
"""The measurements of an event class: one, several, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events. A subclass is named ``<module>.<past tense>``::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class BreakerOpened(Event):
        name = "breaker.opened"
        level: ClassVar[Level] = "WARNING"
        metric: ClassVar[Metrics] = Metric("breaker_transitions", labels=("breaker", "after"))
        breaker: str

    ``level`` is the severity under which logs show the event. ``metric`` is the measurement it feeds, several of
    them, or None where nothing is to be measured; every class of the kit decides both.
    """

    name: ClassVar[str] = "event"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = None


class EventStream:
    """Subscribers, called in order of subscription and in the emitter's own task or thread.

    ``if events.listened(CacheHit):`` guards the construction of an event, so that a class without a subscriber costs
    one dictionary lookup.

    Without a subscriber for all events (``logs.setup`` is one), classes of level INFO and above go to the standard
    library's logger ``prodkit``, where that logger is enabled for the level.
    """

    __slots__ = ("_fallback", "_subscribers", "_wanted", "failures")

    def __init__(self) -> None:
        self._subscribers: tuple[tuple[Callable[[Any], object], tuple[type[Event], ...]], ...] = ()
        self._wanted: dict[type[Event], bool | int] = {}
        self._fallback = True
        self.failures: int = 0

    def subscribe(self, subscriber: Callable[[Any], object], *kinds: type[Event]) -> Callable[[], None]:
        """Call `subscriber` with every event of `kinds`, and return the function that ends the subscription.

        Args:
            subscriber: must return quickly and must not wait.
            kinds: event classes, their subclasses included; all events when none is given.
        """
        entry = (subscriber, kinds or (Event,))
        self._replace((*self._subscribers, entry))

        def unsubscribe() -> None:
            self._replace(tuple(each for each in self._subscribers if each is not entry))

        return unsubscribe

    def listened(self, kind: type[Event]) -> bool:
        """Return True when an event of class `kind` would reach a subscriber or the standard logger."""
        try:
            wanted = self._wanted[kind]
        except KeyError:
            wanted = self._wanted[kind] = self._interest(kind)
        if wanted is True or wanted is False:
            return wanted
        return _LOGGER.isEnabledFor(wanted)

    def emit(self, event: Event) -> None:
        """Hand `event` to its subscribers. State is settled before this is called."""
        for subscriber, kinds in self._subscribers:
            if isinstance(event, kinds):
                try:
                    subscriber(event)
                except Exception:  # noqa: BLE001 - a subscriber must not break the call that it observes
                    self.failures += 1
        if self._fallback and (level := _NUMBERS[event.level]) >= logging.INFO:
            try:
                if _LOGGER.isEnabledFor(level):
                    _LOGGER.log(level, "%s", _Line(event))
            except Exception:  # noqa: BLE001 - as above
                self.failures += 1

    def _replace(
        self, subscribers: tuple[tuple[Callable[[Any], object], tuple[type[Event], ...]], ...]
    ) -> None:
        self._subscribers = subscribers
        self._fallback = not any(Event in kinds for _, kinds in subscribers)
        self._wanted = {}

    def _interest(self, kind: type[Event]) -> bool | int:
        """Return True or False when subscribers alone decide, or the level to ask the standard logger about.

        A subscriber to a subclass counts too: the emitter may ask about a base class before it knows which one it is.
        """
        for _, kinds in self._subscribers:
            if any(issubclass(kind, each) or issubclass(each, kind) for each in kinds):
                return True
        level = _NUMBERS[kind.level]
        return level if self._fallback and level >= logging.INFO else False

    def __repr__(self) -> str:
        return f"EventStream(subscribers={len(self._subscribers)}, failures={self.failures})"


_LOGGER: Final = logging.getLogger("prodkit")


class _Line:
    """Formats an event when a handler asks for its text, redacted: ``breaker.opened breaker='payments' hold=3.0``."""

    __slots__ = ("_event",)

    def __init__(self, event: Event) -> None:
        self._event = event

    def __str__(self) -> str:
        fields = (
            f"{each.name}={getattr(self._event, each.name)!r}" for each in dataclasses.fields(self._event)
        )
        from prodkit.core.redaction import redact_text  # loaded with the first line, not with prodkit

        return redact_text(" ".join((self._event.name, *fields)))
