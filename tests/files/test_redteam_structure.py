"""Structures that a red team bent: accepted once, or decided too slowly."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from prodkit import files


def saved(kind: str, picture: Image.Image | None = None, **options: object) -> bytes:
    out = io.BytesIO()
    picture = picture or Image.linear_gradient("L").resize((40, 30)).convert("RGB")
    picture.save(out, kind, **options)
    return out.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(7).randbytes(3 * width * height))


async def codes(avatars: files.Validator, data: bytes, name: str, declared: str = "") -> set[str]:
    try:
        await avatars.check(data, filename=name, declared_type=declared)
    except files.InvalidFileError as error:
        return {each.code for each in error.problems}
    return set()


def gif(extension: bytes = b"", *, size: int = 8, x: int = 0) -> bytes:
    picture = saved("GIF", Image.linear_gradient("L").resize((8, 8)))
    at = picture.index(b"\x2c\0\0\0\0")
    screen = picture[:6] + struct.pack("<HH", size, size) + picture[10:at]
    return screen + extension + b"\x2c" + struct.pack("<H", x) + picture[at + 3 :]


async def test_a_gif_frame_may_stick_out_of_its_screen_but_not_of_the_limits(
    avatars: files.Validator,
) -> None:
    assert await codes(avatars, gif(), "a.gif") == set()
    assert await codes(avatars, gif(size=20, x=12), "a.gif") == set()
    assert await codes(avatars, gif(x=1), "a.gif") == set()
    assert await codes(avatars, gif(size=7), "a.gif") == set()
    assert await codes(avatars, gif(x=2041), "a.gif") == {"dimensions_too_large"}


async def test_slow_ways_to_say_nothing_are_cut_short(
    avatars: files.Validator, running_time: Callable[[], float]
) -> None:
    jpeg = saved("JPEG")
    await codes(avatars, jpeg, "a.jpg")  # the sandbox is warm
    began = running_time()
    assert await codes(avatars, jpeg[:2] + b"\xff" * 5_000_000 + jpeg[2:], "a.jpg") == {"malformed"}
    assert await codes(avatars, gif(b"\x21\xfe" + b"\1a" * 2_500_000 + b"\0"), "a.gif") == {"too_many_chunks"}
    assert running_time() - began < 2


async def test_few_fill_bytes_are_legal(avatars: files.Validator) -> None:
    jpeg = saved("JPEG")
    assert await codes(avatars, jpeg[:2] + b"\xff" * 7 + jpeg[2:], "a.jpg") == set()


async def test_restart_markers_need_an_interval(avatars: files.Validator) -> None:
    jpeg = saved("JPEG", noise(40, 30))
    assert await codes(avatars, saved("JPEG", noise(40, 30), restart_marker_blocks=1), "a.jpg") == set()
    cut = jpeg[: len(jpeg) // 2].rstrip(b"\xff")
    assert await codes(avatars, cut + b"\xff\xd0\xff\xd7\xff\xd9", "a.jpg") == {"malformed"}


async def test_a_grey_png_has_no_palette(avatars: files.Validator) -> None:
    png = saved("PNG", Image.linear_gradient("L"))
    palette = b"PLTE" + bytes(30)
    chunk = struct.pack(">I", 30) + palette + struct.pack(">I", zlib.crc32(palette))
    assert await codes(avatars, png[:33] + chunk + png[33:], "a.png") == {"malformed"}


@pytest.mark.parametrize(
    "declared",
    ["image/bmp", "image/tiff", "image/vnd.microsoft.icon", "video/mp4", "audio/mpeg", "application/json"],
)
async def test_a_declared_type_of_another_kind(avatars: files.Validator, declared: str) -> None:
    assert await codes(avatars, saved("JPEG"), "a.jpg", declared) == {"declared_type_mismatch"}


@pytest.mark.parametrize(
    "declared", ["", "image/*", "application/x-unknown", "text/plain", "binary/octet-stream"]
)
async def test_a_declared_type_that_says_nothing(avatars: files.Validator, declared: str) -> None:
    assert await codes(avatars, saved("JPEG"), "a.jpg", declared) == set()
