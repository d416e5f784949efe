from __future__ import annotations

import io

import pytest
from PIL import Image

from prodkit.files.formats.base import ImageLimits, RefusedError
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
        (b"abcd", "padding"),
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
