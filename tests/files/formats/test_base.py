from __future__ import annotations

import pytest

from prodkit.files.formats.base import ImageFacts, ImageLimits, RefusedError, without


def test_sizes_and_animations_are_bounded() -> None:
    limits = ImageLimits(max_width=10, max_height=20, max_frames=3, max_total_pixels=500)
    limits.size(10, 20)
    limits.animation(2, 10, 20)
    for check, code in (
        (lambda: limits.size(0, 5), "malformed"),
        (lambda: limits.size(11, 5), "dimensions_too_large"),
        (lambda: limits.animation(4, 1, 1), "too_many_frames"),
        (lambda: limits.animation(3, 10, 20), "too_many_pixels"),
    ):
        with pytest.raises(RefusedError) as caught:
            check()
        assert caught.value.code == code


def test_damage_is_refused_or_noted_once() -> None:
    facts = ImageFacts("png")
    with pytest.raises(RefusedError, match="malformed"):
        facts.damaged(ImageLimits(), "bad_crc", "malformed", "CRC")
    for _ in range(2):
        facts.damaged(ImageLimits(repair=True), "bad_crc", "malformed", "CRC")
    assert facts.repairs == ["bad_crc"]


def test_private_data_counts_from_256_bytes_and_with_repair_only() -> None:
    facts = ImageFacts("png")
    facts.private(ImageLimits(), 0, 10_000)
    facts.private(ImageLimits(repair=True), 0, 255)
    assert facts.repairs == []
    facts.private(ImageLimits(repair=True), 0, 256)
    facts.private(ImageLimits(repair=True), 0, 256)
    assert facts.repairs == ["comment"]


def test_gaps_are_left_out() -> None:
    assert without(b"0123456789", 1, 9, [(2, 4), (6, 7)]) == b"14578"
    assert without(b"0123", 0, 4, []) == b"0123"
