"""Times of a cached value: units, jitter, stale, and what is no duration."""

from __future__ import annotations

import math
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from prodkit.cache import FOREVER, MISSING
from prodkit.cache.entry import Entry, Hit, lifetime, seconds


@pytest.mark.parametrize(
    ("ttl", "number"),
    [(1, 1.0), (0.5, 0.5), (timedelta(minutes=2), 120.0), (FOREVER, math.inf)],
)
def test_a_duration_in_seconds(ttl: Any, number: float) -> None:
    found = seconds("ttl", ttl)
    assert found == number
    assert type(found) is float


@pytest.mark.parametrize("ttl", [0, -1, math.inf, math.nan, True, None, "60", timedelta(0), timedelta(-1)])
def test_what_would_mean_never_or_at_once_is_refused_by_name(ttl: Any) -> None:
    with pytest.raises(ValueError, match="stale must be a positive number"):
        seconds("stale", ttl)


def test_stale_comes_on_top_of_the_ttl() -> None:
    assert lifetime(60, 0, 0.0, Random(1)) == (60.0, 60.0)
    assert lifetime(60, timedelta(seconds=30), 0.0, Random(1)) == (60.0, 90.0)
    assert lifetime(FOREVER, 0, 0.5, Random(1)) == (math.inf, math.inf)


def test_jitter_shortens_and_never_prolongs() -> None:
    random = Random(1)
    found = [lifetime(100, 50, 0.2, random) for _ in range(500)]
    assert all(80 <= fresh <= 100 for fresh, _ in found)
    assert max(fresh for fresh, _ in found) - min(fresh for fresh, _ in found) > 15
    assert all(gone - fresh == pytest.approx(50) for fresh, gone in found)


@pytest.mark.parametrize(
    ("stale", "jitter", "match"),
    [
        (FOREVER, 0.0, "must have an end"),
        (-1, 0.0, "stale"),
        (False, 0.0, "stale"),
        (0, 1.0, "jitter"),
        (0, -0.1, "jitter"),
    ],
)
def test_bad_options_are_refused(stale: Any, jitter: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        lifetime(60, stale, jitter, Random(1))


def test_missing_is_not_none_and_is_false() -> None:
    assert not MISSING
    assert MISSING is not None
    assert (repr(MISSING), repr(FOREVER)) == ("MISSING", "FOREVER")


def test_a_hits_repr_has_no_value() -> None:
    assert "secret" not in repr(Hit("secret", stale=True, source="redis"))


def test_distrust_asks_redis_before_the_next_use_and_keeps_the_lifetime() -> None:
    entry = Entry(b"1", 1, fresh_until=10.0, expires_at=20.0)
    assert entry.revalidate_at == math.inf
    entry.session = 3
    entry.distrust()
    assert (entry.revalidate_at, entry.session) == (0.0, 0)
    assert (entry.fresh_until, entry.expires_at) == (10.0, 20.0)
