from __future__ import annotations

import io

import pytest
from PIL import Image

from prodkit.files.formats.base import ImageLimits, RefusedError
from prodkit.files.formats.jpeg import walk_jpeg


def jpeg(**options: object) -> bytes:
    with io.BytesIO() as out:
        Image.linear_gradient("L").resize((60, 40)).convert("RGB").save(out, "JPEG", **options)
        return out.getvalue()


def test_size_and_end() -> None:
    data = jpeg()
    facts = walk_jpeg(data, ImageLimits())
    assert (facts.kind, facts.width, facts.height, facts.frames) == ("jpeg", 60, 40, 1)
    assert facts.end == len(data)
    assert walk_jpeg(data + b"tail", ImageLimits()).end == len(data)
    assert walk_jpeg(b"junk" + data, ImageLimits(), 4).end == len(data) + 4


def test_scans_of_a_progressive_picture_are_counted() -> None:
    data = jpeg(progressive=True)
    assert walk_jpeg(data, ImageLimits()).width == 60
    with pytest.raises(RefusedError, match="too_many_scans"):
        walk_jpeg(data, ImageLimits(max_scans=3))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (jpeg()[:-2], "truncated"),
        (jpeg()[:300], "truncated"),
        (jpeg()[:2] + b"\xff\xe5\0\1" + jpeg()[2:], "malformed"),
        (jpeg()[:2] + b"\xff\xd8" + jpeg()[2:], "malformed"),
    ],
)
def test_what_is_cut_or_wrong_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        walk_jpeg(data, ImageLimits())
    assert caught.value.code == code, caught.value.detail


def test_bytes_between_segments_are_damage() -> None:
    data = jpeg()[:20] + b"stray" + jpeg()[20:]  # behind the JFIF header
    with pytest.raises(RefusedError, match="malformed"):
        walk_jpeg(data, ImageLimits())
    facts = walk_jpeg(data, ImageLimits(repair=True))
    assert facts.repairs == ["foreign_bytes"]
    assert facts.rebuilt == jpeg()


def test_metadata_is_bounded() -> None:
    with pytest.raises(RefusedError, match="metadata_too_large"):
        walk_jpeg(jpeg(comment=b"x" * 2000), ImageLimits(max_metadata_bytes=1000))
