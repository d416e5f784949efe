"""Ticks around a moment: in UTC, across summer time, and for periods."""

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from prodkit.jobs import Cron, Every


def at(*parts: int, zone: str = "UTC", fold: int = 0) -> float:
    return datetime(*parts, tzinfo=UTC if zone == "UTC" else ZoneInfo(zone), fold=fold).timestamp()  # type: ignore[misc,arg-type]


def test_the_ticks_around_a_moment() -> None:
    nightly = Cron("0 3 * * *")
    assert nightly.around(at(2026, 3, 8, 12)) == (at(2026, 3, 8, 3), at(2026, 3, 9, 3))
    assert nightly.around(at(2026, 3, 8, 3)) == (at(2026, 3, 8, 3), at(2026, 3, 9, 3))
    assert Every(60).around(125.0) == (120.0, 180.0)
    assert Every(60).around(120.0) == (120.0, 180.0)


def ticks(schedule: Cron, first: float, last: float) -> list[float]:
    found: set[float] = set()
    moment = first
    while moment < last:
        before, after = schedule.around(moment)
        assert before <= moment < after
        found.update(each for each in (before, after) if first <= each < last)
        moment += 600
    return sorted(found)


def test_a_tick_in_the_hour_that_summer_time_leaves_out_comes_at_its_end() -> None:
    zone = "America/New_York"
    found = ticks(Cron("30 2 * * *", timezone=zone), at(2026, 3, 7, zone=zone), at(2026, 3, 10, zone=zone))
    assert found == [
        at(2026, 3, 7, 2, 30, zone=zone),
        at(2026, 3, 8, 3, zone=zone),
        at(2026, 3, 9, 2, 30, zone=zone),
    ]


def test_a_fixed_tick_in_the_repeated_hour_comes_once_and_an_hourly_one_twice() -> None:
    zone = "America/New_York"
    first, last = at(2026, 10, 31, 12, zone=zone), at(2026, 11, 2, zone=zone)
    assert ticks(Cron("30 1 * * *", timezone=zone), first, last) == [at(2026, 11, 1, 1, 30, zone=zone)]
    assert len(ticks(Cron("0 * * * *", timezone=zone), first, last)) == 37


def test_no_tick_is_passed_over_where_the_clock_changes_by_half_an_hour() -> None:
    zone = "Australia/Lord_Howe"
    found = Cron("*/20 1-3 * * *", timezone=zone).around(at(2026, 4, 5, 1, 46, zone=zone))
    assert found == (at(2026, 4, 5, 1, 40, zone=zone), at(2026, 4, 5, 2, zone=zone))


def test_a_zone_without_summer_time_is_a_fixed_distance() -> None:
    assert Cron("0 3 * * *", timezone="America/Sao_Paulo").around(at(2026, 3, 8, 12))[0] == at(2026, 3, 8, 6)


@pytest.mark.parametrize(
    "expression", ["", "60 * * * *", "0 0 30 2 *", "0 0 1 1 * 0 2020", "R R * * *", "@reboot"]
)
def test_an_expression_without_ticks_that_all_workers_share_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="Cron"):
        Cron(expression)


def test_wrong_arguments_are_refused() -> None:
    for zone in ("Mars/Olympus", "", "../etc/passwd"):
        with pytest.raises(ValueError, match="time zone"):
            Cron("0 3 * * *", timezone=zone)
    with pytest.raises((TypeError, ValueError)):
        Cron(3)  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError)):
        Every(0)


def test_a_schedule_that_is_over_has_no_next_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: at(2029, 1, 1))
    over = Cron("0 0 1 1 * 0 2030")
    assert over.around(at(2031, 1, 1)) == (at(2030, 1, 1), math.inf)
