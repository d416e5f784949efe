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


@dataclass(frozen=True, slots=True, kw_only=True)
class Cracked(Event):
    name = "bell.cracked"
    level = "WARNING"
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Polished(Event):
    name = "bell.polished"
    level = "INFO"


def test_subscribers_are_called_in_order_with_the_kinds_they_want() -> None:
    events, seen = EventStream(), []
    events.subscribe(lambda event: seen.append(("all", event.name)))
    events.subscribe(lambda event: seen.append(("broke", event.name)), Broke)
    events.emit(Rang(times=2))
    events.emit(Broke())
    assert seen == [("all", "bell.rang"), ("all", "bell.broke"), ("broke", "bell.broke")]


def test_listened_is_true_while_a_class_has_a_subscriber() -> None:
    events = EventStream()
    assert not events.listened(Rang)
    first, second = events.subscribe(print, Rang), events.subscribe(print, Rang)
    first()
    first()
    assert events.listened(Rang)
    assert not events.listened(Broke)
    second()
    assert not events.listened(Rang)


def test_a_subscriber_to_all_or_to_a_subclass_is_counted() -> None:
    events = EventStream()
    events.subscribe(print, Rang)
    assert events.listened(Event)  # the emitter asks about the base before it knows the class
    events.subscribe(print)
    assert events.listened(Broke)


def test_without_subscribers_warnings_go_to_the_standard_logger(caplog: pytest.LogCaptureFixture) -> None:
    events = EventStream()
    with caplog.at_level("WARNING", "prodkit"):
        assert events.listened(Cracked)
        assert not events.listened(Polished)
        events.emit(Cracked(depth=2))
        events.emit(Polished())
        events.emit(Broke())
    assert [(each.name, each.levelname, each.getMessage()) for each in caplog.records] == [
        ("prodkit", "WARNING", "bell.cracked depth=2")
    ]


def test_a_subscriber_to_all_events_replaces_the_standard_logger(caplog: pytest.LogCaptureFixture) -> None:
    events = EventStream()
    events.subscribe(lambda event: None, Rang)
    with caplog.at_level("INFO", "prodkit"):
        events.emit(Cracked(depth=1))
        leave = events.subscribe(lambda event: None)
        events.emit(Cracked(depth=2))
        leave()
        events.emit(Polished())
    assert [each.getMessage() for each in caplog.records] == ["bell.cracked depth=1", "bell.polished"]


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


def test_the_standard_logger_gets_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Told(Event):
        name = "bell.told"
        level = "WARNING"
        reason: str

    with caplog.at_level("WARNING", "prodkit"):
        EventStream().emit(Told(reason="postgresql://u:hunter2@db is away"))
    assert caplog.messages == ["bell.told reason='postgresql://u:***@db is away'"]
