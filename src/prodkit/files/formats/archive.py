"""ZIP archives: every entry accounted for before anything is unpacked. PKWARE APPNOTE 6.3.

A reader that starts at the front and one that starts at the back must see the same entries: no bytes before,
between or after them, no entry over another, no name twice, no local header that contradicts the directory.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from prodkit.files.formats.base import RefusedError

__all__ = ["Entry", "unpack", "walk_archive"]

_LOCAL: Final = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END: Final = struct.Struct("<4sHHHHIIH")
_STEP: Final = 2**18
_SMALL: Final = 50 * 2**20
_DESCRIPTORS: Final = (0, 12, 16)
_SYMLINK: Final = 0o120000
_STREAMED: Final = 8
_BLANKS: Final = b"\r\n\0 \t"  # what transfers append


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive: where its packed bytes stand, and what they promise."""

    name: str
    start: int
    packed: int
    size: int
    crc: int
    stored: bool


def walk_archive(
    data: bytes, *, max_entries: int, max_unpacked_bytes: int, max_ratio: int
) -> dict[str, Entry]:
    """Return the entries by name; nothing is unpacked yet."""
    at = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    if at < 0 or at + _END.size > len(data):
        raise RefusedError("truncated", "no directory at the end of the archive")
    _, disk, first, here, count, size, offset, comment = _END.unpack_from(data, at)
    if data[at + _END.size + comment :].strip(_BLANKS):
        raise RefusedError("trailing_data", "bytes after the archive")
    if disk or first or here != count or 0xFFFF in (here, count) or 0xFFFFFFFF in (size, offset):
        raise RefusedError("unsupported", "archive in several parts or of the 64-bit kind")
    if count > max_entries:
        raise RefusedError("too_many_chunks", f"{count} entries, limit {max_entries}")
    if offset + size != at:
        raise RefusedError("malformed", "bytes around the directory of the archive")
    entries = list(_directory(data, offset, at, count))
    _contiguous(data, entries, offset)
    total = sum(entry.size for _, _, entry in entries)
    # A ratio alone is no bomb: a long empty table is honest, and 50 MiB are quickly unpacked.
    if total > max_unpacked_bytes or total > max(max_ratio * len(data), _SMALL):
        raise RefusedError("inflates_too_much", f"{total} bytes unpacked from {len(data)}")
    found = {entry.name: entry for _, _, entry in entries}
    if len({name.casefold() for name in found}) != len(entries):
        raise RefusedError("unsafe_archive", "two entries of one name")
    return found


def _directory(data: bytes, pos: int, end: int, count: int) -> Iterator[tuple[int, int, Entry]]:
    """Yield begin and end of each entry's local part, and the entry."""
    for _ in range(count):
        if pos + _CENTRAL.size > end:
            raise RefusedError("malformed", "directory of the archive")
        head = _CENTRAL.unpack_from(data, pos)
        (
            signature,
            _,
            _,
            flags,
            method,
            _,
            _,
            crc,
            packed,
            size,
            names,
            extra,
            comment,
            _,
            _,
            attributes,
            offset,
        ) = head
        raw = data[pos + _CENTRAL.size : pos + _CENTRAL.size + names]
        pos += _CENTRAL.size + names + extra + comment
        if signature != b"PK\x01\x02" or pos > end:
            raise RefusedError("malformed", "directory of the archive")
        if flags & 0x41:
            raise RefusedError("encrypted", "archive entry")
        if method not in (0, 8) or (method == 0 and packed != size):
            raise RefusedError("unsupported", f"compression method {method}")
        if attributes >> 16 & 0o170000 == _SYMLINK:
            raise RefusedError("unsafe_archive", "symbolic link")
        name = _name(raw)
        start = _local(data, offset, raw, method, (crc, packed, size))
        if start + packed > end:
            raise RefusedError("malformed", "archive entry outside the archive")
        yield offset, start + packed, Entry(name, start, packed, size, crc, method == 0)
    if pos != end:
        raise RefusedError("malformed", "bytes in the directory of the archive")


def _local(data: bytes, offset: int, name: bytes, method: int, promised: tuple[int, int, int]) -> int:
    if offset + _LOCAL.size > len(data):
        raise RefusedError("malformed", "archive entry outside the archive")
    head = _LOCAL.unpack_from(data, offset)
    start = offset + _LOCAL.size
    if head[0] != b"PK\x03\x04" or head[3] != method or data[start : start + head[9]] != name:
        raise RefusedError("malformed", "archive entry and directory differ")
    # Writers that stream leave zeros where they do not know better yet, and put the truth behind the content.
    unknown = 0 if head[2] & _STREAMED else None
    extra = data[start + head[9] : start + head[9] + head[10]]
    if any(
        here not in (there, unknown) for here, there in zip(_wide(head[6:9], extra), promised, strict=True)
    ):
        raise RefusedError("malformed", "archive entry and directory differ in size or checksum")
    return start + int(head[9]) + int(head[10])


def _wide(given: tuple[int, int, int], extra: bytes) -> tuple[int, int, int]:
    """Return checksum and sizes of a local header; of the 64-bit kind, both sizes stand in the first extra field."""
    crc, packed, size = given
    if packed == size == 0xFFFFFFFF and extra[:2] == b"\1\0" and len(extra) >= 20:
        size, packed = (int.from_bytes(extra[at : at + 8], "little") for at in (4, 12))
    return crc, packed, size


def _name(raw: bytes) -> str:
    # Some writers of Excel files separate folders with backslashes: readers take them for slashes, and so do we.
    name = raw.decode("utf-8", "replace").replace("\\", "/")
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or ":" in name or len(raw) > 512:
        raise RefusedError("unsafe_archive", "path of an entry")
    if any(ord(char) < 32 or char == "\ufffd" for char in name):
        raise RefusedError("unsafe_archive", "name of an entry")
    return name


def _contiguous(data: bytes, entries: list[tuple[int, int, Entry]], directory: int) -> None:
    pos = 0
    for begin, end, _ in sorted(entries, key=lambda each: each[0]):
        if begin - pos not in _DESCRIPTORS or (pos == 0 and begin):
            raise RefusedError("malformed", "bytes between the entries of the archive")
        pos = end
    if directory - pos not in _DESCRIPTORS:
        raise RefusedError("malformed", "bytes between the entries of the archive")


def unpack(data: bytes, entry: Entry) -> bytes:
    """Return the content of `entry`, which must have exactly the promised size and checksum."""
    packed = data[entry.start : entry.start + entry.packed]
    if entry.stored:
        content = packed
    else:
        inflater, parts, size = zlib.decompressobj(-15), list[bytes](), 0
        source = packed
        try:
            while source and not inflater.eof:
                piece = inflater.decompress(source, _STEP)
                size += len(piece)
                if size > entry.size:
                    raise RefusedError("inflates_too_much", "archive entry larger than it says")
                parts.append(piece)
                source = inflater.unconsumed_tail
        except zlib.error as error:
            raise RefusedError("malformed", "archive entry") from error
        if inflater.unused_data or not inflater.eof:
            raise RefusedError("malformed", "archive entry")
        content = b"".join(parts)
    if len(content) != entry.size or zlib.crc32(content) != entry.crc:
        raise RefusedError("malformed", "checksum of an archive entry")
    return content
