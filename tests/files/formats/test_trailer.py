from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from prodkit.files.formats.base import ImageFacts, ImageLimits, RefusedError
from prodkit.files.formats.jpeg import walk_jpeg
from prodkit.files.formats.trailer import check_trailer, is_attached


def jpeg() -> bytes:
    with io.BytesIO() as out:
        Image.new("RGB", (60, 40)).save(out, "JPEG")
        return out.getvalue()


def box(name: bytes, body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4, "big") + name + body


VIDEO = box(b"ftyp", b"mp42\0\0\0\0isom") + box(b"moov", bytes(40)) + box(b"mdat", bytes(400))


def name_of(tail: bytes) -> str:
    data = jpeg() + tail
    return check_trailer(data, walk_jpeg(data, ImageLimits()), ImageLimits())


@pytest.mark.parametrize(
    ("tail", "name"),
    [
        (b"", ""),
        (bytes(500), "padding"),
        (b"\r\n", "padding"),
        (b"a", "padding"),
        (b"\0\xff\xd9\xff\xd9", "padding"),
        (jpeg(), "pictures"),
        (bytes(20) + jpeg() + jpeg(), "pictures"),
        (VIDEO, "video"),
        (jpeg() + VIDEO, "pictures+video"),
    ],
)
def test_what_phones_append_has_a_name(tail: bytes, name: str) -> None:
    assert name_of(tail) == name


@pytest.mark.parametrize(
    "tail",
    [
        b"an unknown table of a maker",
        b"ab",
        box(b"ftyp", b"mp42") + b"x" * 50,
        jpeg() + b"PK\x03\x04" + bytes(60),
        jpeg() * 20,
    ],
)
def test_everything_else_is_refused(tail: bytes) -> None:
    with pytest.raises(RefusedError):
        name_of(tail)


def test_a_whole_file_is_distinguished_from_a_rest() -> None:
    start = len(jpeg())
    assert is_attached(jpeg() + b"\0\0MZ\x90\0" + bytes(60), start) == "a Windows program"
    assert is_attached(jpeg() + b"#!/bin/sh\n", start) == "a script"
    assert is_attached(jpeg() + b"the middle of an old file", start) == ""


SEF = b"entry".ljust(20, b"\0") + b"SEFH" + struct.pack("<III", 106, 1, 0) + struct.pack("<II", 20, 20)
SEF += struct.pack("<I", len(SEF) - 20) + b"SEFT"


@pytest.mark.parametrize(
    ("tail", "name"),
    [
        (b"", ""),
        (bytes(30), "padding"),
        (box(b"mpvd", VIDEO), "video"),
        (box(b"mpvd", VIDEO) + box(b"sefd", SEF) + bytes(3), "video+samsung"),
    ],
)
def test_what_phones_append_to_a_heic_has_a_name(tail: bytes, name: str) -> None:
    assert check_trailer(b"picture" + tail, ImageFacts("heic", end=7), ImageLimits()) == name


@pytest.mark.parametrize(
    "tail",
    [
        b"abcdefgh",
        box(b"evil", b""),
        box(b"mpvd", b"no video at all"),
        box(b"mpvd", VIDEO)[:-1],
        box(b"mpvd", VIDEO + b"Rar!\x1a\x07"),
        box(b"sefd", b"no directory"),
        VIDEO,
    ],
)
def test_other_boxes_behind_a_heic_are_refused(tail: bytes) -> None:
    with pytest.raises(RefusedError):
        check_trailer(b"picture" + tail, ImageFacts("heic", end=7), ImageLimits())
