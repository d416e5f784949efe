"""Check the bytes after the end of a picture: padding and the known trailers of phones pass, the rest is refused.

Phones append further pictures (multi-picture format, the gain map of an Ultra HDR photo), a short video (motion
photos) or a directory of their own (Samsung's SEF). Each is checked for its own structure; nothing is accepted for its
first bytes alone.

Other tails are rests: makers' previews and tables, and old content of memory cards, which begins anywhere inside a
former file. A policy may drop such a tail, see :func:`is_attached` for those that it refuses nevertheless.
"""

from __future__ import annotations

import struct
from typing import Final

from prodkit.files.formats.active import find_active, find_archive, find_signature
from prodkit.files.formats.base import ImageFacts, ImageLimits, RefusedError
from prodkit.files.formats.jpeg import walk_jpeg
from prodkit.files.formats.signatures import at_fixed_offset, in_metadata
from prodkit.files.sniff import disguise

__all__ = ["check_trailer", "is_attached"]

_MAX_STRAY: Final = 16
_END: Final = b"\xff\xd9"
_PADDING: Final = b"\0\xff\r\n\t \x1a"
_MAX_PICTURES: Final = 16
_FOTOSTATION: Final = b"\xa1\xb2\xc3\xd4"
_VIDEO_BRANDS: Final = frozenset(
    (
        b"mp41",
        b"mp42",
        b"isom",
        b"iso2",
        b"iso4",
        b"iso5",
        b"iso6",
        b"avc1",
        b"qt  ",
        b"3gp4",
        b"3gp5",
        b"3gp6",
        b"M4V ",
        b"MSNV",
        b"hvc1",
    )
)
_VIDEO_BOXES: Final = frozenset(
    (
        b"ftyp",
        b"moov",
        b"mdat",
        b"free",
        b"skip",
        b"wide",
        b"uuid",
        b"udta",
        b"meta",
        b"moof",
        b"mfra",
        b"sidx",
        b"mpvd",
        b"pnot",
        b"sefd",
        b"styp",
    )
)
_HAZARDS: Final = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x7fELF\x01",
    b"\x7fELF\x02",
    b"Rar!\x1a\x07",
    b"7z\xbc\xaf\x27\x1c",
    b"%PDF-",
)


def check_trailer(data: bytes, facts: ImageFacts, limits: ImageLimits) -> str:
    """Return the name of the trailer after `facts.end`, "" for none; refuse an unknown one."""
    size = len(data)
    pos = _skip_padding(data, facts.end)
    if pos == size:
        return "" if size == facts.end else "padding"
    if _is_stray(data, pos):
        return "padding"
    if facts.kind in ("heic", "avif"):
        return _boxes(data, facts.end)
    if facts.kind != "jpeg":
        raise RefusedError("trailing_data", f"{size - facts.end} bytes after the end of the picture")
    names = list[str]()
    for _ in range(_MAX_PICTURES):
        name, end = _part(data, pos, facts, limits)
        names.append(name)
        pos = _skip_padding(data, end)
        if pos == size or _is_stray(data, pos):
            break
    else:
        raise RefusedError("trailing_data", f"more than {_MAX_PICTURES} pictures")
    if any(
        data.find(hazard, facts.end) >= 0
        for hazard in _HAZARDS[2 if "video" in names or "samsung" in names else 0 :]
    ):
        raise RefusedError("embedded_file", "archive or program in a trailer")
    return "+".join(dict.fromkeys(names))


def is_attached(data: bytes, start: int) -> str:
    """Return the name of a whole file that was appended at `start`, or "" for a rest that may be dropped.

    An attachment begins with its own signature, or is an archive, whose readers look for it from the end of the file::

        picture | padding | PK.. / MZ.. / %PDF / <?php / #!/bin/sh      refused
        picture | the middle of an old file, a maker's table ...        dropped
    """
    if find_archive(data):
        return "a ZIP archive"
    begin = start + len(data[start : start + 4096]) - len(data[start : start + 4096].lstrip(_PADDING))
    return (
        disguise(data[begin : begin + 512])
        or in_metadata(data, begin, min(len(data), begin + 4096))
        or find_active(data[begin : begin + 4096])
        or at_fixed_offset(data)
        or find_signature(data[begin:])
    )


def _is_stray(data: bytes, pos: int) -> bool:
    """Return True when the rest from `pos`, behind the padding, is too little to be anything.

    Old cameras and careless copies leave a single byte, or the end mark once more. Any two bytes may be a file already:
    08 01 is a whole protobuf message.
    """
    rest = data[pos : pos + _MAX_STRAY].rstrip(_PADDING)
    return len(data) - pos < _MAX_STRAY and (len(rest) < 2 or not rest.strip(_END))


def _skip_padding(data: bytes, pos: int) -> int:
    """Return the offset of the next byte that is not padding. FF D8 begins a picture, it does not pad."""
    size = len(data)
    while pos < size:
        window = data[pos : pos + 4096]
        rest = window.lstrip(_PADDING)
        pos += len(window) - len(rest)
        if rest:
            break
    if pos < size and data[pos] == 0xD8 and data[pos - 1] == 0xFF:
        return pos - 1
    if data[pos : pos + 1] and pos + 4 <= size and data[pos : pos + 4] == b"ftyp":
        return pos - 4
    for back in (1, 2, 3):  # the length of a first box may begin with zeros, which are padding too
        if data[pos + 4 - back : pos + 8 - back] == b"ftyp":
            return pos - back
    return pos


def _part(data: bytes, pos: int, facts: ImageFacts, limits: ImageLimits) -> tuple[str, int]:
    """Return the name and the end of the part of a trailer at `pos`."""
    if data[pos : pos + 3] == b"\xff\xd8\xff":
        extra = walk_jpeg(data, limits, pos)
        facts.metadata += extra.metadata
        facts.foreign = facts.foreign or extra.foreign
        return "pictures", extra.end
    if data[pos + 4 : pos + 8] == b"ftyp":
        return "video", _video(data, pos)
    if data.endswith(_FOTOSTATION):
        return "fotostation", _fotostation(data, pos)
    if b"\xd8\xff" in data[pos : pos + 3]:
        return "pictures", _preview(data, data.index(b"\xd8\xff", pos), facts, limits)
    return "samsung", _samsung(data, pos)


def _preview(data: bytes, pos: int, facts: ImageFacts, limits: ImageLimits) -> int:
    """Walk a preview whose first byte is overwritten or missing, as Minolta's cameras leave it: .. D8 FF DB."""
    extra = walk_jpeg(b"\xff" + data[pos:], limits)
    facts.foreign = facts.foreign or extra.foreign
    facts.metadata += [(start + pos - 1, end + pos - 1) for start, end in extra.metadata]
    return pos - 1 + extra.end


def _fotostation(data: bytes, pos: int) -> int:
    """Walk FotoStation's blocks from their end: each has a footer with its kind, its size and a mark."""
    end = len(data)
    while end > pos:
        kind, size, mark = struct.unpack(">H I 4s", data[end - 10 : end]) if end - pos >= 10 else (0, 0, b"")
        if mark != _FOTOSTATION or not 1 <= kind <= 16 or not 10 <= size <= end - pos:
            raise RefusedError("trailing_data", "damaged FotoStation block")
        end -= size
    return len(data)


def _video(data: bytes, pos: int) -> int:
    if data[pos + 8 : pos + 12] not in _VIDEO_BRANDS:
        raise RefusedError("trailing_data", "video of an unknown brand")
    size, seen = len(data), set[bytes]()
    while pos + 8 <= size and data[pos + 4 : pos + 8] in _VIDEO_BOXES:
        length = int.from_bytes(data[pos : pos + 4], "big")
        if length == 1:
            length = int.from_bytes(data[pos + 8 : pos + 16], "big")
        elif length == 0:
            length = size - pos
        if length < 8 or pos + length > size:
            raise RefusedError("trailing_data", "damaged video after the picture")
        seen.add(data[pos + 4 : pos + 8])
        pos += length
    if len(seen) < 2 and (pos == size or data[pos:].strip(b"\0")):
        raise RefusedError("trailing_data", "video without content")
    return pos


def _boxes(data: bytes, pos: int) -> str:
    """Walk what phones append to a HEIC: a motion photo's video in a box of its own, Samsung's directory in another."""
    names, size = list[str](), len(data)
    while pos < size and data[pos:].strip(_PADDING):
        length, name = int.from_bytes(data[pos : pos + 4], "big"), data[pos + 4 : pos + 8]
        if not 8 <= length <= size - pos or name not in (b"mpvd", b"sefd"):
            raise RefusedError("trailing_data", f"{size - pos} bytes after the end of the picture")
        body = data[pos + 8 : pos + length]
        if name == b"mpvd":
            if body[4:8] != b"ftyp" or _video(body, 0) != len(body):
                raise RefusedError("trailing_data", "damaged video after the picture")
        else:
            _samsung(body, 0)
        if any(hazard in body for hazard in _HAZARDS[2:]):
            raise RefusedError("embedded_file", "archive or program in a trailer")
        names.append("video" if name == b"mpvd" else "samsung")
        pos += length
    return "+".join(dict.fromkeys(names)) or "padding"


def _samsung(data: bytes, pos: int) -> int:
    """Samsung's extended format: blocks, then a directory (SEFH) that points back at them, then SEFT."""
    size = len(data.rstrip(b"\0")) if data.endswith(b"\0") else len(data)
    length = int.from_bytes(data[size - 8 : size - 4], "little")
    head = size - 8 - length
    if data[size - 4 : size] != b"SEFT" or head < pos or data[head : head + 4] != b"SEFH":
        raise RefusedError("trailing_data", f"{len(data) - pos} bytes after the end of the picture")
    count = int.from_bytes(data[head + 8 : head + 12], "little")
    if not 1 <= count <= 256 or length < 12 + 12 * count:
        raise RefusedError("trailing_data", "damaged SEF directory")
    covered = 0
    for entry in range(head + 12, head + 12 + 12 * count, 12):
        back, extent = (int.from_bytes(data[entry + k : entry + k + 4], "little") for k in (4, 8))
        if back > head - pos + 8 or extent > back or extent < 8:
            raise RefusedError("trailing_data", "SEF entry outside its trailer")
        covered += extent
    if head - pos > covered + 64:
        raise RefusedError("trailing_data", "SEF directory does not cover its trailer")
    return len(data)
