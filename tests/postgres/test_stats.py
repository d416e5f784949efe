"""The numbers of a pool, as a value."""

from __future__ import annotations

import dataclasses

import pytest

from prodkit.postgres.stats import PoolStats

REQUIRED = {
    "size": 3, "idle": 1, "used": 2, "waiting": 0, "min_size": 1, "max_size": 5, "acquired": 9, "waited": 0.25,
    "exhausted": 0, "connect_failures": 0, "oldest_use": 1.5,
}  # fmt: skip


def test_a_snapshot_is_a_value_that_goes_into_a_report() -> None:
    stats = PoolStats(**REQUIRED)  # type: ignore[arg-type]
    rest = {"resetting": 0, "connecting": 0, "cancelled": 0, "reclaimed": 0}
    assert dataclasses.asdict(stats) == REQUIRED | rest
    assert stats == dataclasses.replace(stats)


def test_a_snapshot_does_not_change() -> None:
    stats = PoolStats(**REQUIRED)  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.size = 4  # type: ignore[misc]
