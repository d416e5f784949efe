"""The answer of a check: several limits, one verdict."""

from __future__ import annotations

import pytest

from prodkit.errors import RateLimitedError
from prodkit.ratelimit import Decision, Limit
from prodkit.ratelimit.decision import Source

HOUR = Limit("10/hour", name="hour")
DAY = Limit("50/day", name="day")
TRIAL = Limit("1/hour", name="trial", shadow=True)


def decision(*pairs: tuple[Limit, tuple[int, int, int, int]], source: Source = "memory") -> Decision:
    """Make a decision of limits and outlooks: remaining, wait, more and full in microseconds."""
    return Decision([limit for limit, _ in pairs], [outlook for _, outlook in pairs], source, 1, ())


ADMITTED = decision((HOUR, (4, 0, 5_000_000, 9_000_000)), (DAY, (30, 0, 1, 80_000_000)))
REFUSED = decision((HOUR, (0, 1_500_000, 1_500_000, 9_000_000)), (DAY, (3, 0, 1, 80_000_000)))


def test_an_admission_has_the_numbers_of_the_tightest_limit() -> None:
    assert ADMITTED.allowed
    assert (ADMITTED.remaining, ADMITTED.retry_after, ADMITTED.reset_after) == (4, 0.0, 9.0)
    assert ADMITTED.violated == ()
    ADMITTED.raise_if_denied()


def test_one_limit_is_enough_to_refuse() -> None:
    assert not REFUSED.allowed
    assert REFUSED.violated == (HOUR,)
    assert REFUSED.retry_after == 1.5
    assert not REFUSED.unavailable


def test_the_wait_is_that_of_the_slowest_limit() -> None:
    both = decision((HOUR, (0, 2_000_000, 0, 0)), (DAY, (0, 7_000_000, 0, 0)))
    assert both.retry_after == 7.0
    assert both.violated == (HOUR, DAY)


def test_a_refusal_is_an_error_with_facts() -> None:
    with pytest.raises(RateLimitedError, match=r"'hour'.*1\.500 s") as caught:
        REFUSED.raise_if_denied()
    assert (caught.value.retry_after, caught.value.limit) == (1.5, "hour")


def test_states_are_in_seconds_and_in_the_given_order() -> None:
    hour, day = REFUSED.states
    assert (hour.limit, hour.remaining, hour.retry_after, hour.more_after, hour.reset_after) == (
        HOUR, 0, 1.5, 1.5, 9.0,
    )  # fmt: skip
    assert (day.limit, day.retry_after) == (DAY, 0.0)


def test_a_limit_on_trial_decides_nothing() -> None:
    tried = decision((TRIAL, (0, 9_000_000, 0, 0)), (HOUR, (4, 0, 0, 3_000_000)))
    assert tried.allowed
    assert (tried.remaining, tried.retry_after, tried.violated) == (4, 0.0, ())
    alone = decision((TRIAL, (0, 9_000_000, 0, 0)))
    assert alone.allowed
    assert alone.remaining == 0  # with none beside it, its own number


@pytest.mark.parametrize(
    ("source", "wait", "unavailable"), [("outage", 1, True), ("outage", 0, False), ("redis", 1, False)]
)
def test_unavailable_is_a_refusal_for_lack_of_redis(source: Source, wait: int, unavailable: bool) -> None:
    assert decision((HOUR, (0, wait, 0, 0)), source=source).unavailable is unavailable


def test_a_decision_is_neither_true_nor_false() -> None:
    with pytest.raises(TypeError, match=r"decision\.allowed"):
        bool(ADMITTED)
    assert "allowed=False" in repr(REFUSED)
    assert "['hour']" in repr(REFUSED)
