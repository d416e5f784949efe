import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from prodkit.policies import Backoff, constant, decorrelated, equal_jitter, exponential, full_jitter, upward


def waits(backoff: Backoff, attempts: int = 6, seed: int = 1) -> list[float]:
    rng, last, seen = random.Random(seed), 0.0, []
    for attempt in range(1, attempts + 1):
        last = backoff(attempt, rng, last)
        seen.append(last)
    return seen


def test_the_plain_ones() -> None:
    assert waits(constant(2.5), 3) == [2.5, 2.5, 2.5]
    assert waits(exponential(1.0, cap=10)) == [1, 2, 4, 8, 10, 10]
    assert waits(exponential(0.5, factor=3, cap=100), 4) == [0.5, 1.5, 4.5, 13.5]
    assert waits(exponential())[:3] == [1, 2, 4]
    assert waits(exponential(), 8)[-1] == 60


@pytest.mark.parametrize("seed", range(50))
def test_jitter_stays_between_its_limits(seed: int) -> None:
    nominal = waits(exponential(0.1, cap=5), 9)
    for wait, most in zip(waits(full_jitter(), 9, seed), nominal, strict=True):
        assert 0 <= wait <= most
    for wait, most in zip(waits(equal_jitter(), 9, seed), nominal, strict=True):
        assert most / 2 <= wait <= most
    for wait, least in zip(waits(upward(0.1, cap=5), 9, seed), nominal, strict=True):
        assert least <= wait <= least * 1.25
    last = 0.0
    for wait in waits(decorrelated(), 9, seed):
        assert 0.1 <= wait <= min(5, max(0.1, 3 * last))
        last = wait


def test_jitter_fills_its_range() -> None:
    def spread(backoff: Backoff) -> tuple[float, float]:
        rng = random.Random(5)
        seen = [backoff(2, rng, 1.0) for _ in range(2000)]
        return min(seen), max(seen)

    assert spread(full_jitter(1.0)) == pytest.approx((0, 2), abs=0.02)
    assert spread(equal_jitter(1.0)) == pytest.approx((1, 2), abs=0.02)
    assert spread(upward(1.0, jitter=0.5)) == pytest.approx((2, 3), abs=0.02)
    assert spread(upward(1.0, jitter=0)) == (2, 2)
    assert spread(decorrelated(1.0)) == pytest.approx((1, 3), abs=0.02)
    assert spread(decorrelated(1.0, cap=2.0)) == pytest.approx((1, 2), abs=0.02)


def test_factors_and_caps_are_used() -> None:
    rng = random.Random(5)
    for make in (full_jitter, equal_jitter):
        assert max(make(1.0, factor=3.0, cap=50)(3, rng, 0.0) for _ in range(500)) == pytest.approx(
            9, abs=0.3
        )
        assert max(make(1.0, factor=3.0, cap=4)(9, rng, 0.0) for _ in range(500)) == pytest.approx(4, abs=0.1)
        assert make(0.1)(60, rng, 0.0) <= 5
    assert upward(1.0, factor=3.0, jitter=0)(3, rng, 0.0) == 9
    assert upward(jitter=0)(1, rng, 0.0) == 1
    assert upward(jitter=0)(99, rng, 0.0) == 60
    assert decorrelated(0.1)(9, rng, 1e9) <= 5


@given(st.integers(1, 100_000), st.sampled_from([exponential, full_jitter, equal_jitter, upward]))
def test_no_attempt_is_too_late_to_be_finite(attempt: int, make: Callable[..., Backoff]) -> None:
    wait = make(0.5, factor=10.0, cap=30.0)(attempt, random.Random(1), 30.0)
    assert 0 <= wait <= 30 * 1.25


def test_nonsense_is_refused_together_with_the_values_seen() -> None:
    with pytest.raises(ValueError, match=r"base must .* got -1; factor must be .* at least 1, got 0.5"):
        exponential(-1, factor=0.5, cap=-2)
    for wrong in (math.inf, math.nan, -0.1):
        with pytest.raises(ValueError, match=r"base must"):
            constant(wrong)
    for make in (full_jitter, equal_jitter, upward, exponential):
        with pytest.raises(ValueError, match=r"factor must"):
            make(1.0, factor=math.inf)
        with pytest.raises(ValueError, match=r"cap must be at least base=1, got 0\.5"):
            make(1, cap=0.5)
        make(0.0, factor=1.0, cap=0.0)
    with pytest.raises(ValueError, match=r"cap must be .* got 0\.5"):
        decorrelated(1, cap=0.5)
    for jitter in (-0.1, 1.1):
        with pytest.raises(ValueError, match=f"jitter must be .* got {jitter}"):
            upward(jitter=jitter)
    upward(jitter=1.0)


def test_a_cap_that_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match="cap must be a number of seconds, got nan"):
        exponential(1.0, cap=math.nan)
