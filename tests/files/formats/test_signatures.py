"""Guests in comments and at fixed offsets are found by `check`; chance hits in large metadata are none."""

import random
import struct
import zlib

import pytest
from upload_corpus.base import bases, encoded
from upload_corpus.parts import segment

from prodkit import files


async def codes(avatars: files.Validator, data: bytes) -> list[str]:
    try:
        await avatars.check(data, filename=None, declared_type=None)
    except files.InvalidFileError as error:
        return [each.code for each in error.problems]
    return []


def with_comment(body: bytes) -> bytes:
    jpeg = bases()["jpeg"][1]
    return jpeg[:2] + segment(0xFE, body) + jpeg[2:]


def arj() -> bytes:
    header = b"\x1e\x07\x01\0\0\0\2" + bytes(23) + b"a.arj\0\0"
    return b"\x60\xea" + struct.pack("<H", len(header)) + header + struct.pack("<I", zlib.crc32(header))


def at(offset: int, magic: bytes) -> bytes:
    """A comment that puts `magic` at `offset` of the file."""
    return with_comment(bytes(offset - 6) + magic + bytes(64))


@pytest.mark.parametrize(
    "data",
    [
        with_comment(b"see: " + arj()),
        at(128, b"DICM"),
        at(257, b"ustar\x0000"),
        at(0x8001, b"CD001\1"),
        with_comment(b"MSCF\0\0\0\0" + bytes(40)),
        with_comment(b"  -lh5-" + bytes(40)),
        with_comment(b"!<arch>\n" + bytes(40)),
        with_comment(b"OggS\0\2\0\0" + bytes(40)),
        with_comment(b"\x1aE\xdf\xa3\x9fB\x82\x84webm"),
        with_comment(b"MZ\0\0" + bytes(56) + b"\x80\0\0\0" + bytes(64) + b"PE\0\0"),
        with_comment(b"ID3\3\0\0\0\0\1\0" + bytes(40)),
    ],
)
async def test_guests_are_found(avatars: files.Validator, data: bytes) -> None:
    assert len(await codes(avatars, data)) == 1


async def test_chance_hits_are_none(avatars: files.Validator) -> None:
    chance = random.Random(3)
    noise = bytearray(chance.randbytes(900_000))
    for position in range(1_000, 800_000, 50_000):
        noise[position : position + 4] = b"MZ\0\0"
        noise[position + 500 : position + 502] = b"\x60\xea"
    jpeg = bases()["jpeg"][1]
    body = bytes(noise).replace(b"<", b"(")
    parts = [segment(0xED, b"Photoshop 3.0\0" + body[n : n + 60_000]) for n in range(0, len(body), 60_000)]
    assert await codes(avatars, jpeg[:2] + b"".join(parts) + jpeg[2:]) == []
    dump = b"\nexif\n" + b"4578696600004d4d0707010707020707".hex().encode() * 90
    assert await codes(avatars, encoded("PNG", pnginfo=None)) == []
    assert await codes(avatars, with_comment(dump)) == []
    maker_note = (
        b"Exif\0\0MM\0*" + bytes(200) + b"Apple iOS\0\0\1MM" + bytes(40) + b"bplist00\xd4\1\2" + bytes(90)
    )
    assert await codes(avatars, jpeg[:2] + segment(0xE1, maker_note) + jpeg[2:]) == []
