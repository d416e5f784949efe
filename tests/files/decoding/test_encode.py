"""Encoding makes a new file: sizes, frames, delays and transparency stay, nothing else does."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageChops
from upload_corpus.base import drawing

from prodkit.files.decoding import encode
from prodkit.files.formats.base import ImageLimits
from prodkit.files.formats.gif import walk_gif
from prodkit.files.formats.png import walk_png
from prodkit.files.formats.webp import walk_webp

WALKERS = {"gif": walk_gif, "png": walk_png, "webp": walk_webp}


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def largest_difference(one: Image.Image, other: Image.Image) -> int:
    bands = ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getextrema()
    return max(int(band[1]) for band in bands if isinstance(band, tuple))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp"])
def test_a_still_picture_of_any_mode_keeps_its_size(kind: str, mode: str) -> None:
    source = drawing(33, 21, "L").convert("I;16") if mode == "I;16" else drawing(33, 21).convert(mode)
    with opened(encode.still(kind, source, quality=90)) as picture:
        assert picture.size == (33, 21)
        assert not {"exif", "icc_profile", "comment", "xmp"} & set(picture.info)


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_lossless_copies_are_exact(kind: str) -> None:
    source = drawing(33, 21)
    with opened(encode.still(kind, source, quality=90, exact=True)) as picture:
        assert largest_difference(source, picture) == 0


def test_full_resolution_colour_stays_full_resolution() -> None:
    for exact, sampling in ((True, (1, 1)), (False, (2, 2))):
        with opened(encode.still("jpeg", drawing(33, 21), quality=80, exact=exact)) as picture:
            assert getattr(picture, "layer")[0][1:3] == sampling  # noqa: B009 - only JPEGs have it


@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_an_animation_keeps_equal_frames_delays_and_loop(kind: str) -> None:
    frame = drawing(24, 16)
    frames = [(frame, 50), (frame, 70), (frame.rotate(180), 90)]
    data = encode.animation(kind, frames, loop=3, quality=90)
    assert WALKERS[kind](data, ImageLimits()).frames == 3
    with opened(data) as picture:
        delays = []
        for index in range(3):
            picture.seek(index)
            picture.load()
            delays.append(picture.info["duration"])
        assert delays == [50, 70, 90]
        assert picture.info["loop"] == 3


def test_a_poster_is_no_frame_of_its_animation() -> None:
    frames = [(drawing(24, 16), 0), (drawing(24, 16).rotate(180), 40), (drawing(24, 16), 40)]
    facts = walk_png(encode.animation("png", frames, loop=0, quality=90, poster=True), ImageLimits())
    assert (facts.poster, facts.frames) == (True, 3)


def test_an_uploaded_palette_is_not_copied() -> None:
    message = b"a palette may hold a text of up to 768 bytes " * 17
    picture = Image.new("P", (16, 16))
    picture.putpalette(message[:768])
    picture.putdata([each % 256 for each in range(256)])
    data = encode.still("gif", picture.convert("RGB"), quality=90)
    assert message[:30] not in data
    with opened(data) as copy:
        assert largest_difference(picture, copy) == 0


def test_transparent_pixels_of_a_gif_stay_transparent() -> None:
    picture = drawing(16, 16).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 8, 16))
    with opened(encode.still("gif", picture, quality=90)) as copy:
        alpha = copy.convert("RGBA").getchannel("A")
        assert alpha.getpixel((2, 2)) == 0
        assert alpha.getpixel((12, 2)) == 255
