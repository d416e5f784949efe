from __future__ import annotations

import io

import pytest
from PIL import Image

from prodkit.files.formats.base import ImageLimits, RefusedError
from prodkit.files.formats.webp import walk_webp


def webp(frames: int = 1, *, lossless: bool = False) -> bytes:
    pictures = [Image.new("RGB", (60, 40), (80 * number, 0, 0)) for number in range(frames)]
    with io.BytesIO() as out:
        pictures[0].save(
            out, "WEBP", save_all=frames > 1, append_images=pictures[1:], lossless=lossless, duration=50
        )
        return out.getvalue()


@pytest.mark.parametrize("lossless", [True, False])
def test_size_and_kind_of_coding(lossless: bool) -> None:
    facts = walk_webp(webp(lossless=lossless), ImageLimits())
    assert (facts.kind, facts.width, facts.height, facts.frames) == ("webp", 60, 40, 1)
    assert facts.lossless is lossless
    assert facts.end == len(webp(lossless=lossless))


def test_frames_are_counted_and_bounded() -> None:
    assert walk_webp(webp(3), ImageLimits()).frames == 3
    with pytest.raises(RefusedError, match="too_many_frames"):
        walk_webp(webp(3), ImageLimits(max_frames=2))


@pytest.mark.parametrize("cut", [20, 40, -2])
def test_what_is_cut_is_refused(cut: int) -> None:
    with pytest.raises(RefusedError, match="truncated"):
        walk_webp(webp()[:cut], ImageLimits())
