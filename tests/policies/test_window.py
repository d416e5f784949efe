import math

from hypothesis import given, strategies as st

from prodkit.policies.window import FAILED, SLOW, CallWindow, TimeWindow, Window

OUTCOMES = st.integers(0, FAILED | SLOW)


def totals(window: Window) -> tuple[int, int, int]:
    return window.calls, window.failures, window.slow


def expected(outcomes: list[int]) -> tuple[int, int, int]:
    return len(outcomes), sum(o & FAILED != 0 for o in outcomes), sum(o & SLOW != 0 for o in outcomes)


@given(st.integers(1, 6), st.lists(st.one_of(OUTCOMES, st.integers(4, 12))))
def test_a_call_window_is_the_last_calls(size: int, steps: list[int]) -> None:
    """A step up to 3 is one outcome, a larger one a run of successes."""
    window, log = CallWindow(size), list[int]()
    for step in steps:
        if step <= FAILED | SLOW:
            window.add(0.0, step)
            log.append(step)
        else:
            window.add_successes(step - 3)
            log += [0] * (step - 3)
        assert totals(window) == expected(log[-size:])
    assert window.boundary() == math.inf
    window.clear()
    assert totals(window) == (0, 0, 0)
    window.add(0.0, FAILED)
    assert totals(window) == (1, 1, 0)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0, 9.0, 50.0]), OUTCOMES)))
def test_a_time_window_is_the_last_slices(steps: list[tuple[float, int]]) -> None:
    """Four slices of a second: three seconds old still counts, four does not."""
    window, now, log = TimeWindow(4.0, buckets=4), 100.0, list[tuple[float, int]]()
    for pause, outcome in steps:
        now += pause
        window.add(now, outcome)
        log.append((now, outcome))
        surely = expected([o for at, o in log if now - at < 3.0])
        perhaps = expected([o for at, o in log if now - at < 4.0])
        for least, is_, most in zip(surely, totals(window), perhaps, strict=True):
            assert least <= is_ <= most
        assert now < window.boundary() <= now + 1.0


def test_slices_fall_out_one_by_one_at_exact_instants() -> None:
    window = TimeWindow(4.0, buckets=4)
    assert window.boundary() == -math.inf
    window.add(10.0, FAILED)
    assert window.boundary() == 11.0
    window.add(10.999, SLOW)
    window.add(11.0, FAILED | SLOW)
    assert window.boundary() == 12.0
    assert totals(window) == (3, 2, 2)
    window.add(13.5, 0)
    assert totals(window) == (4, 2, 2)
    window.add(14.0, 0)
    assert totals(window) == (3, 1, 1)
    window.add(15.0, 0)
    assert totals(window) == (3, 0, 0)
    window.add(18.999, 0)
    assert totals(window) == (2, 0, 0)
    window.add(22.999, FAILED)
    assert totals(window) == (1, 1, 0)


def test_a_long_silence_empties_it_and_starts_a_fresh_slice() -> None:
    window = TimeWindow(4.0, buckets=4)
    window.add(10.0, FAILED | SLOW)
    window.add(15.0, 0)
    assert totals(window) == (1, 0, 0)
    assert window.boundary() == 16.0
    window = TimeWindow(4.0, buckets=4)
    window.add(10.0, FAILED | SLOW)
    window.add(14.999, 0)
    assert totals(window) == (1, 0, 0)
    assert window.boundary() == 15.0


def test_a_run_of_successes_belongs_to_the_running_slice() -> None:
    window = TimeWindow(4.0, buckets=4)
    window.add(10.0, 0)
    window.add_successes(5)
    assert totals(window) == (6, 0, 0)
    window.add(13.999, 0)
    assert totals(window) == (7, 0, 0)
    window.add(14.0, 0)
    assert totals(window) == (2, 0, 0)


def test_ten_slices_by_default() -> None:
    window = TimeWindow(10.0)
    window.add(0.0, FAILED)
    assert window.boundary() == 1.0
    window.add(9.5, 0)
    assert window.failures == 1
    window.add(10.0, 0)
    assert window.failures == 0


def test_cleared_it_starts_empty() -> None:
    window = TimeWindow(4.0, buckets=4)
    window.add(10.0, FAILED | SLOW)
    window.clear()
    assert totals(window) == (0, 0, 0)
    assert window.boundary() == -math.inf
    window.add(11.5, SLOW)
    assert totals(window) == (1, 0, 1)
    assert window.boundary() == 12.5
    window.add(15.5, 0)
    assert totals(window) == (1, 0, 0)


def test_slices_of_any_length() -> None:
    window = TimeWindow(20.0, buckets=4)
    window.add(100.0, FAILED)
    window.add(104.9, FAILED)
    window.add(105.0, SLOW)
    assert window.boundary() == 110.0
    window.add(119.9, 0)
    assert totals(window) == (4, 2, 1)
    window.add(120.0, 0)
    assert totals(window) == (3, 0, 1)
    window.add(125.0, 0)
    assert totals(window) == (3, 0, 0)
