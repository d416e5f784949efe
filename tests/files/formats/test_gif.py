from __future__ import annotations

import io

import pytest
from PIL import Image

from prodkit.files.formats.base import ImageLimits, RefusedError
from prodkit.files.formats.gif import walk_gif


def gif(frames: int = 3) -> bytes:
    pictures = [Image.new("RGB", (6, 4), (80 * number, 0, 0)) for number in range(frames)]
    with io.BytesIO() as out:
        pictures[0].save(out, "GIF", save_all=True, append_images=pictures[1:], loop=0, duration=50)
        return out.getvalue()


def test_frames_and_size_are_counted() -> None:
    facts = walk_gif(gif(), ImageLimits())
    assert (facts.kind, facts.width, facts.height, facts.frames) == ("gif", 6, 4, 3)
    assert facts.end == len(gif())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GIF89a", "truncated"),
        (gif()[:-1], "truncated"),
        (gif()[:40], "truncated"),
        (b"GIF89a" + bytes(20), "malformed"),
    ],
)
def test_what_is_cut_or_empty_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        walk_gif(data, ImageLimits())
    assert caught.value.code == code


def test_a_frame_outside_the_screen_enlarges_the_canvas_for_the_limits() -> None:
    data = bytearray(gif(1))
    data[6:10] = (2).to_bytes(2, "little") * 2  # the screen is smaller than its frame
    assert walk_gif(bytes(data), ImageLimits()).width == 6
    with pytest.raises(RefusedError, match="dimensions_too_large"):
        walk_gif(bytes(data), ImageLimits(max_width=5))


def test_too_many_frames() -> None:
    with pytest.raises(RefusedError, match="too_many_frames"):
        walk_gif(gif(4), ImageLimits(max_frames=3))
