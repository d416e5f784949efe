import dataclasses
from dataclasses import dataclass

import pytest

from prodkit import Event, EventStream


@dataclass(frozen=True, slots=True, kw_only=True)
class Rang(Event):
    name = "bell.rang"
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Broke(Event):
    name = "bell.broke"


def test_subscribers_are_called_in_order_with_the_kinds_they_want() -> None:
    events, seen = EventStream(), []
    events.subscribe(lambda event: seen.append(("all", event.name)))
    events.subscribe(lambda event: seen.append(("broke", event.name)), Broke)
    events.emit(Rang(times=2))
    events.emit(Broke())
    assert seen == [("all", "bell.rang"), ("all", "bell.broke"), ("broke", "bell.broke")]


def test_listened_tells_whether_anybody_listens() -> None:
    events = EventStream()
    assert not events.listened
    first, second = events.subscribe(print, Rang), events.subscribe(print, Rang)
    first()
    first()
    assert events.listened
    second()
    assert not events.listened


def test_the_same_function_twice_is_two_subscriptions() -> None:
    events, seen = EventStream(), []
    events.subscribe(seen.append)
    events.subscribe(seen.append)()
    events.emit(Broke())
    assert len(seen) == 1


def test_a_broken_subscriber_is_counted_and_harms_nobody() -> None:
    events, seen = EventStream(), []
    events.subscribe(lambda event: 1 / 0)
    events.subscribe(seen.append)
    events.emit(Broke())
    assert (events.failures, seen) == (1, [Broke()])
    assert repr(events) == "EventStream(subscribers=2, failures=1)"


def test_one_may_unsubscribe_while_being_called() -> None:
    events, seen = EventStream(), []

    def once(event: Event) -> None:
        seen.append(event)
        leave()

    leave = events.subscribe(once)
    events.emit(Broke())
    events.emit(Broke())
    assert len(seen) == 1


def test_events_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Rang(times=1).times = 2  # type: ignore[misc]
