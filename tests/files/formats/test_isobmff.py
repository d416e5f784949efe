from __future__ import annotations

import pytest

from prodkit.files.formats.base import ImageLimits, RefusedError
from prodkit.files.formats.isobmff import walk_avif, walk_heic

LIMITS = ImageLimits()


def box(name: str, *content: bytes, size: int | None = None) -> bytes:
    body = b"".join(content)
    length = len(body) + 8 if size is None else size
    return length.to_bytes(4, "big") + name.encode() + body


def number(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


def size(width: int, height: int) -> bytes:
    return box("ispe", number(0, width, height))


FTYP = box("ftyp", b"avif", number(0))
MDAT = box("mdat", b"pixels")


def meta(*properties: bytes) -> bytes:
    return box("meta", number(0), box("iprp", box("ipco", *properties)))


def code(data: bytes, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(RefusedError) as why:
        walk_avif(data, limits)
    return why.value.code


def test_the_largest_announced_size_counts() -> None:
    data = FTYP + meta(size(60, 40), size(30, 50)) + MDAT
    facts = walk_avif(data, LIMITS)
    assert (facts.kind, facts.width, facts.height, facts.frames) == ("avif", 60, 50, 1)
    assert facts.end == len(data)
    assert walk_heic(data, LIMITS).kind == "heic"


def test_lengths_of_64_bits_and_to_the_end_of_the_file_are_read() -> None:
    large = number(1) + b"free" + (20).to_bytes(8, "big") + b"note"
    data = FTYP + meta(size(60, 40)) + large + box("mdat", b"pixels", size=0)
    facts = walk_avif(data, LIMITS)
    [(start, end)] = facts.metadata
    assert data[start:end] == b"note"


def test_the_samples_of_a_sequence_are_its_frames() -> None:
    track = box("tkhd", b"\0" * 76, number(60 << 16, 40 << 16))
    table = box("mdia", box("minf", box("stbl", box("stsz", number(0, 0, 7)))))
    data = FTYP + box("moov", box("trak", track, table)) + MDAT
    facts = walk_avif(data, LIMITS)
    assert (facts.width, facts.height, facts.frames) == (60, 40, 7)
    assert code(data, ImageLimits(max_frames=6)) == "too_many_frames"
    assert code(data, ImageLimits(max_total_pixels=60 * 40 * 7 - 1)) == "too_many_pixels"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "truncated"),
        (FTYP, "truncated"),
        (FTYP + MDAT, "truncated"),  # no size
        (meta(size(60, 40)) + FTYP, "malformed"),
        (FTYP + meta(size(60, 40)) + FTYP, "malformed"),
        (FTYP + meta(size(60, 40)) + MDAT[:-1], "truncated"),
        (FTYP + box("evil", b"x") + meta(size(60, 40)) + MDAT, "trailing_data"),
        (FTYP + box("meta", number(0), box("ispe", size=7)), "malformed"),
        (FTYP + meta(box("ispe", number(0, 60))), "malformed"),
        (FTYP + meta(size(0, 40)) + MDAT, "malformed"),
        (FTYP + box("moov", box("trak", box("tkhd", b"\0" * 20))), "malformed"),
        (FTYP + box("moov", box("stbl", box("stsz", number(0)))), "malformed"),
    ],
)
def test_broken_boxes_are_refused(data: bytes, expected: str) -> None:
    assert code(data) == expected


@pytest.mark.parametrize("tail", [b"abc", bytes(40), box("evil", b"x"), box("mpvd", b"x")])
def test_what_stands_behind_the_last_box_is_a_trailer(tail: bytes) -> None:
    picture = FTYP + meta(size(60, 40)) + MDAT
    assert walk_avif(picture + tail, LIMITS).end == len(picture)


def test_work_is_bounded() -> None:
    assert code(FTYP + meta(size(5000, 40)) + MDAT) == "dimensions_too_large"
    many = FTYP + meta(size(60, 40)) + box("free") * 30 + MDAT
    assert code(many, ImageLimits(max_chunks=20)) == "too_many_chunks"
    assert (
        code(FTYP + box("free", b"x" * 99) + MDAT, ImageLimits(max_metadata_bytes=98)) == "metadata_too_large"
    )
    deep = b""
    for _ in range(12):
        deep = box("moov", deep)
    assert code(FTYP + deep) == "malformed"
