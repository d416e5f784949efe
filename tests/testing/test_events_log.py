from dataclasses import dataclass

import pytest

from prodkit import Event, EventStream
from prodkit.testing.events import EventLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened(Event):
    name = "door.opened"
    door: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Event):
    name = "door.closed"


def test_it_records_in_order_until_it_is_closed() -> None:
    events = EventStream()
    with EventLog(events) as log:
        events.emit(Opened(door="a"))
        events.emit(Closed())
        assert log.names == ["door.opened", "door.closed"]
        assert log.only(Opened).door == "a"
        assert len(log) == 2
        assert [type(event) for event in log] == [Opened, Closed]
        assert log[-1] == Closed()
    events.emit(Closed())
    assert log.of(Closed) == [Closed()]
    assert not events.listened(Event)
    log.clear()
    with pytest.raises(AssertionError, match="found 0"):
        log.only(Opened)


def test_it_records_only_the_kinds_it_was_asked_for() -> None:
    events = EventStream()
    with EventLog(events, Closed) as log:
        events.emit(Opened(door="a"))
        events.emit(Closed())
    assert log.names == ["door.closed"]
