import pytest

from prodkit.policies.pacing import Pacing


def asked(rate: float) -> Pacing:
    """A pace that saw `rate` calls a second for two seconds."""
    pace = Pacing()
    for step in range(int(2 * rate)):
        assert pace.next(step / rate) == step / rate
        pace.reserve(step / rate)
    return pace


def test_free_until_throttled_then_half_of_what_was_asked() -> None:
    pace = asked(10)
    assert pace.rate is None
    pace.throttled(2.0, 1.0)
    assert pace.rate == 5
    assert pace.next(2.5) == 3.0
    pace.reserve(3.0)
    assert pace.next(2.5) == pytest.approx(3.2)
    assert pace.next(9.0) == 9.0


def test_the_rate_is_that_of_the_last_seconds() -> None:
    pace = asked(10)
    for second in range(20, 26):
        for _ in range(4):
            pace.reserve(float(second))
    pace.throttled(26.0, 1.0)
    assert pace.rate == 2.0


def test_never_below_one_a_second_at_first() -> None:
    pace = Pacing()
    pace.throttled(0.0, 1.0)
    assert pace.rate == 1.0


def test_refusals_cut_at_most_twice_a_second() -> None:
    pace = asked(10)
    pace.throttled(2.0, 1.0)
    pace.throttled(2.4, 1.0)
    assert (pace.rate, pace.not_before) == (5, 3.4)
    pace.throttled(2.5, 0.1)
    assert (pace.rate, pace.not_before) == (pytest.approx(4.25), 3.4)
    for step in range(40):
        pace.throttled(3.0 + step, 0.1)
    assert pace.rate == 0.1


def test_it_climbs_back_flat_around_the_refused_rate_and_steep_away_from_it() -> None:
    pace = asked(10)
    pace.succeeded(1.0)
    assert pace.rate is None
    pace.throttled(2.0, 1.0)  # silent until 3, half of ten a second from then on
    pace.throttled(5.0, 1.0)  # refused at five a second: silent until 6
    assert pace.rate == pytest.approx(4.25)
    rates = []
    for tenth in range(60, 150):
        pace.succeeded(tenth / 10)
        assert pace.rate is not None
        rates.append(pace.rate)
    assert rates[30] == pytest.approx(5, abs=0.01)  # back at 9
    assert rates[45] - rates[30] < 0.2
    assert rates[-1] - rates[-16] > 1
    pace.succeeded(30.0)
    assert pace.rate is None


def test_while_others_queue_it_at_most_doubles_and_is_not_free() -> None:
    pace = asked(10)
    pace.throttled(2.0, 1.0)
    assert pace.rate == 5
    pace.succeeded(30.0, waiting=1)
    assert pace.rate == 10
    pace.succeeded(30.0, waiting=1)
    assert pace.rate == 20
    for _ in range(9):
        pace.succeeded(60.0, waiting=1)
    assert pace.rate is not None
    assert pace.rate > 1000
    pace.succeeded(60.0)
    assert pace.rate is None


def test_a_quota_that_shrank_is_aimed_at_from_below() -> None:
    pace = asked(10)
    pace.throttled(2.0, 1.0)
    pace.throttled(4.0, 1.0)
    pace.throttled(6.0, 1.0)  # refused below the last target
    for tenth in range(70, 101):
        pace.succeeded(tenth / 10)
    assert pace.rate == pytest.approx(4.25 * (1 + 0.85) / 2, abs=0.01)


def test_a_turn_can_be_given_back() -> None:
    pace = asked(10)
    pace.give_back()
    pace.throttled(2.0, 1.0)
    pace.reserve(3.0)
    pace.reserve(3.2)
    assert pace.next(2.0) == pytest.approx(3.4)
    pace.give_back()
    assert pace.next(2.0) == pytest.approx(3.2)


def test_the_turn_of_a_waiter_counts_those_before_it() -> None:
    pace = asked(10)
    assert pace.turn(2.0, 7) == 2.0
    pace.throttled(2.0, 1.0)
    assert pace.turn(2.0, 7) == pytest.approx(3.0 + 7 / 5)


def test_the_rate_spans_two_windows_when_both_were_asked_in() -> None:
    pace = Pacing()
    for step in range(70):  # ten a second from 20 to 26.9; the second window begins at 25.1
        pace.reserve(20 + step / 10)
    pace.throttled(27.0, 1.0)
    assert pace.rate == pytest.approx(0.5 * 70 / (1.9 + 5), rel=0.01)


def test_a_window_ends_after_five_seconds_and_not_before() -> None:
    pace = Pacing()
    for at in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0):
        pace.reserve(at)
    pace.reserve(5.0)
    pace.throttled(5.0, 1.0)
    assert pace.rate == max(1.0, 0.5 * 7 / 5)
    pace = Pacing()
    for step in range(10):
        pace.reserve(step / 2)
    for step in range(20):
        pace.reserve(5.5 + step / 40)  # half a second later a window of its own
    pace.throttled(6.0, 1.0)
    assert pace.rate == pytest.approx(0.5 * 30 / 6)


def test_what_was_asked_long_ago_does_not_count() -> None:
    pace = Pacing()
    for step in range(100):
        pace.reserve(step / 100)
    for step in range(4):
        pace.reserve(10.0 + step / 2)  # exactly two windows after the first: the last that still counts
    pace.throttled(12.0, 1.0)
    assert pace.rate == pytest.approx(0.5 * 104 / (2 + 5))
    pace = Pacing()
    for step in range(100):
        pace.reserve(step / 100)
    for step in range(8):
        pace.reserve(10.1 + step / 4)
    pace.throttled(12.1, 1.0)
    assert pace.rate == pytest.approx(0.5 * 8 / 2)


def test_a_first_second_that_is_not_over_counts_as_one() -> None:
    pace = Pacing()
    for step in range(10):
        pace.reserve(step / 20)
    pace.throttled(0.5, 1.0)
    assert pace.rate == 5


@pytest.mark.parametrize(("rate", "after"), [(0, 5.65), (10, 9.65)])
def test_it_is_free_again_at_three_times_what_was_asked_and_at_two_a_second_at_least(
    rate: float, after: float
) -> None:
    pace = asked(rate) if rate else Pacing()
    pace.throttled(2.0, 1.0)
    pace.succeeded(3.0 + after - 0.1)
    assert pace.rate is not None
    pace.reserve(3.0 + after)
    pace.succeeded(3.0 + after + 0.1)
    assert pace.rate is None
    assert pace.next(3.0 + after) == 3.0 + after, "free at once: the last slot does not matter any more"


def counted(*calls: tuple[float, int]) -> Pacing:
    pace = Pacing()
    for at, times in calls:
        for _ in range(times):
            pace.reserve(at)
    return pace


@pytest.mark.parametrize(
    ("calls", "refused", "rate"),
    [
        (((0.0, 50), (5.1, 10)), 6.1, 5.0),  # sixty in this span and the one before it
        (((0.0, 10), (5.0, 10)), 5.0, 2.0),  # five seconds are one span
        (((0.0, 10), (10.0, 10)), 11.0, 20 / 6 / 2),  # ten seconds are two
        (((0.0, 10), (10.1, 10)), 11.1, 5.0),  # what is older is forgotten
        (((0.0, 50), (20.0, 8)), 22.0, 2.0),
        (((0.0, 6),), 0.5, 3.0),  # less than a second counts as one
    ],
)
def test_what_was_asked_is_counted_over_the_last_spans(
    calls: tuple[tuple[float, int], ...], refused: float, rate: float
) -> None:
    pace = counted(*calls)
    pace.throttled(refused, 1.0)
    assert pace.rate == pytest.approx(rate)


def test_after_the_first_refusal_it_begins_on_the_flat_part() -> None:
    pace = asked(10)
    pace.throttled(2.0, 1.0)
    pace.succeeded(3.0)
    assert pace.rate == 5
    pace.succeeded(6.0)
    assert pace.rate == pytest.approx(5.75)


@pytest.mark.parametrize(("rate", "ceiling"), [(10.0, 30.0), (0.0, 2.0)])
def test_it_is_free_above_three_times_what_was_asked(rate: float, ceiling: float) -> None:
    pace = asked(rate)
    pace.throttled(2.0, 1.0)
    highest, now = 0.0, 3.0
    while pace.rate is not None and now < 60:
        highest = pace.rate
        now += 0.005
        pace.succeeded(now)
    assert pace.rate is None
    assert ceiling * 0.95 < highest <= ceiling


def test_it_is_free_at_first() -> None:
    pace = Pacing()
    assert (pace.rate, pace.next(5.0), pace.turn(5.0, 100)) == (None, 5.0, 5.0)
    pace.give_back()
    assert pace.next(5.0) == 5.0
