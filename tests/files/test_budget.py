from __future__ import annotations

import pytest

from prodkit.files.budget import DecodeBudget


def test_small_pictures_share_one_budget() -> None:
    small, avatar = DecodeBudget.of(10, 10, 100), DecodeBudget.of(2048, 2048, 2048 * 2048)
    assert small.seconds == avatar.seconds == small.rewrite_seconds == avatar.rewrite_seconds == 3.0
    assert small.memory_bytes == avatar.memory_bytes == 768 * 2**20


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_time_follows_all_frames_and_memory_one_of_them(factor: int) -> None:
    budget = DecodeBudget.of(8000, 6000, 48_000_000 * factor)
    assert budget.pixels == 48_000_000 * factor
    assert budget.seconds == 1 + 3 * factor
    assert budget.rewrite_seconds == 1 + 8 * factor
    assert budget.memory_bytes == 512 * 2**20 + 24 * 48_000_000


def test_video_codecs_get_twice_the_time_to_encode() -> None:
    plain, slow = (DecodeBudget.of(8000, 6000, 48_000_000, kind) for kind in ("jpeg", "avif"))
    assert slow.rewrite_seconds - 1 == 2 * (plain.rewrite_seconds - 1)
