from __future__ import annotations

import io
import zlib

import pytest
from PIL import Image

from prodkit.files.formats.base import ImageLimits, RefusedError
from prodkit.files.formats.png import walk_png

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(frames: int = 1) -> bytes:
    pictures = [Image.new("RGB", (6, 4), (80 * number, 0, 0)) for number in range(frames)]
    with io.BytesIO() as out:
        pictures[0].save(out, "PNG", save_all=frames > 1, append_images=pictures[1:])
        return out.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def made(pixels: bytes, size: tuple[int, int] = (6, 4), *between: bytes) -> bytes:
    header = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big") + b"\x08\x02\0\0\0"
    chunks = [chunk(b"IHDR", header), *between, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(chunks)


PIXELS = bytes(4 * (1 + 6 * 3))


def test_size_and_frames() -> None:
    assert walk_png(made(PIXELS), ImageLimits()).frames == 1
    facts = walk_png(png(3), ImageLimits())
    assert (facts.kind, facts.width, facts.height, facts.frames) == ("png", 6, 4, 3)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (SIGNATURE, "truncated"),
        (made(PIXELS)[:-4], "truncated"),
        (made(PIXELS[:-1]), "truncated"),
        (made(PIXELS + b"more"), "inflates_too_much"),
        (made(PIXELS, (0, 4)), "malformed"),
        (made(PIXELS, (6000, 4)), "dimensions_too_large"),
        (made(PIXELS, (6, 4), chunk(b"PLTE", b"12")), "malformed"),
    ],
)
def test_what_a_decoder_must_not_meet(data: bytes, code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        walk_png(data, ImageLimits())
    assert caught.value.code == code, caught.value.detail


def test_a_wrong_checksum_is_damage() -> None:
    data = bytearray(made(PIXELS))
    data[-1] ^= 1
    with pytest.raises(RefusedError, match="malformed"):
        walk_png(bytes(data), ImageLimits())
    facts = walk_png(bytes(data), ImageLimits(repair=True))
    assert facts.repairs == ["bad_crc"]
    assert facts.rebuilt == made(PIXELS)
