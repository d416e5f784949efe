"""Sanitising must not cost what the upload had."""

from __future__ import annotations

import io
import random

from PIL import Image

from prodkit import files


def saved(kind: str, picture: Image.Image | None = None, **options: object) -> bytes:
    out = io.BytesIO()
    picture = picture or Image.linear_gradient("L").resize((40, 30)).convert("RGB")
    picture.save(out, kind, **options)
    return out.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(7).randbytes(3 * width * height))


async def test_what_lost_nothing_loses_nothing(avatars: files.Validator) -> None:
    picture = noise(64, 48)
    webp = saved("WEBP", picture, lossless=True)
    clean = await avatars.check(webp, filename="a.webp", declared_type=None, sanitise=True)
    assert Image.open(io.BytesIO(clean.content)).tobytes() == picture.tobytes()


async def test_colour_of_every_pixel_is_kept(avatars: files.Validator) -> None:
    for subsampling, expected in ((0, {(1, 1)}), (2, {(2, 2), (1, 1)})):
        jpeg = saved("JPEG", noise(64, 48), subsampling=subsampling)
        clean = await avatars.check(jpeg, filename="a.jpg", declared_type=None, sanitise=True)
        layers = Image.open(io.BytesIO(clean.content)).layer  # type: ignore[attr-defined]
        assert {layer[1:3] for layer in layers} == expected


async def test_a_large_lossless_picture_is_written_in_time(avatars: files.Validator) -> None:
    webp = saved("WEBP", noise(1300, 1000), lossless=True, quality=0, method=0)
    clean = await avatars.check(webp, filename="a.webp", declared_type=None, sanitise=True)
    assert (clean.width, clean.height) == (1300, 1000)
