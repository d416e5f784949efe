"""The console's memory: bounded in time and number, warnings kept apart from the flood of DEBUG."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from prodkit import Runtime
from prodkit.core.recording import Recorded
from prodkit.web import Console
from prodkit.web.console_records import Records, number, text, unrolled
from prodkit.web.request_events import RequestFinished

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def record(at: float, event: str = "cache.hit", level: str = "DEBUG", **fields: Any) -> Recorded:
    return Recorded(at=at, time=NOON + timedelta(seconds=at), event=event, level=level, fields=fields)


def test_old_records_leave_and_the_two_kinds_do_not_displace_each_other() -> None:
    records = Records(seconds=10, limit=3)
    records.add(record(0, "llm.finished", "WARNING"))
    for at in range(1, 6):
        records.add(record(at))
    window = records.window(6)
    assert [each.at for each in window.records] == [0, 3, 4, 5]
    assert (window.start, window.end, window.complete_from) == (-4, 6, 2)
    assert [each.at for each in records.window(13.5).records] == [4, 5]
    assert (len(records), records.added) == (2, 6)


def test_the_state_of_a_breaker_outlives_the_record_that_reported_it() -> None:
    records = Records(seconds=10, limit=100)
    records.add(record(0, "breaker.opened", "WARNING", breaker="pay", after="open"))
    assert records.window(5).states == {}  # its record is still there
    assert records.window(20).states == {"pay": "open"}
    for number_ in range(300):
        records.add(record(20, "breaker.opened", "WARNING", breaker=f"b{number_}", after="open"))
    assert len(records.window(40).states) == 256


def test_a_window_is_never_empty_of_time() -> None:
    assert Records(seconds=10, limit=1).window(5).between(3, 3).end == 4


def test_a_restarted_machine_does_not_turn_time_back() -> None:
    before = Recorded(at=5_000.0, time=NOON, event="a")
    after = Recorded(at=3.0, time=NOON + timedelta(seconds=60), event="b")
    later = Recorded(at=4.0, time=NOON + timedelta(seconds=61), event="c")
    found = unrolled([before, Recorded(at=math.nan, time=NOON, event="x"), after, later])
    assert [(each.event, each.at) for each in found] == [("a", 0.0), ("b", 60.0), ("c", 61.0)]


@pytest.mark.parametrize(
    ("value", "found"),
    [(3, 3.0), (0.5, 0.5), (True, None), ("3", None), (None, None), (math.inf, None), (10**400, None)],
)
def test_a_number_is_finite(value: Any, found: float | None) -> None:
    assert number(value) == found


def test_a_text_is_short_and_redacted() -> None:
    assert text(None) == ""
    assert text(7) == "7"
    assert len(text("x" * 500)) == 200
    assert "hunter2" not in text("postgres://app:hunter2@db/x")


async def test_requests_are_no_news_for_the_page_that_makes_them() -> None:
    runtime = Runtime()
    console = Console(runtime, allow=lambda _: True)
    runtime.events.emit(RequestFinished(method="GET", route="/console/fragment", status=200, seconds=0.1))
    assert console._records.added == 0
    console.close()
