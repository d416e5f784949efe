"""PDF: no scripts, no actions that start by themselves, no embedded files. ISO 32000.

This is not a PDF parser. It finds the names that make a document dangerous, also when their letters are escaped and
inside compressed object streams, and bounds the unpacked size of compressed streams.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

from prodkit.files.formats.base import RefusedError

__all__ = ["walk_pdf"]

_HEADER: Final = re.compile(rb"%PDF-(?:1\.[0-7]|2\.0)[\r\n ]")
_END: Final = re.compile(rb"startxref\s+\d{1,10}\s+%%EOF[\s\0]*\Z")
_STREAM: Final = re.compile(rb"\bstream\r?\n|\bstream\r")
_NAME: Final = re.compile(rb"/([^\s\0()<>\[\]{}/%]{1,64})")
_ESCAPE: Final = re.compile(rb"#([0-9a-fA-F]{2})")
_OBJECT: Final = re.compile(rb"\d\s+obj\b")
_FLATE: Final = re.compile(rb"/Filter\s*\[?\s*/(?:FlateDecode|Fl)\s*\]?\s*(?:/|>|$)")
_ANY_FILTER: Final = re.compile(rb"/Filter\b")
_REFUSED: Final = {
    b"JavaScript": "active_content",
    b"JS": "active_content",
    b"Launch": "active_content",
    b"SubmitForm": "active_content",
    b"ImportData": "active_content",
    b"RichMedia": "active_content",
    b"Movie": "active_content",
    b"XFA": "active_content",
    b"GoToE": "embedded_file",
    b"EmbeddedFile": "embedded_file",
    b"EmbeddedFiles": "embedded_file",
    b"Encrypt": "encrypted",
}
_STEP: Final = 2**18
_KEEP: Final = 8 * 2**20
_DICTIONARY: Final = 4096


def walk_pdf(data: bytes, *, max_unpacked_bytes: int, max_objects: int) -> None:
    """Refuse a document that is damaged, active, encrypted, or that carries other files."""
    if not _HEADER.match(data):
        raise RefusedError("malformed", "PDF header")
    if not _END.search(data, max(0, len(data) - 1100)):
        code = "truncated" if b"%%EOF" not in data[-1100:] else "trailing_data"
        raise RefusedError(code, "the end of the document is missing or is not its end")
    pos = unpacked = objects = 0
    while True:
        found = _STREAM.search(data, pos)
        plain = data[pos : found.start() if found else len(data)]
        _names(plain)
        if b"%PDF-" in plain[5:]:
            raise RefusedError("embedded_file", "a second PDF header")
        objects += len(_OBJECT.findall(plain))
        if objects > max_objects:
            raise RefusedError("too_many_chunks", f"more than {max_objects} objects")
        if found is None:
            break
        pos = data.find(b"endstream", found.end())
        if pos < 0:
            raise RefusedError("truncated", "inside a stream")
        unpacked += _stream(plain[-_DICTIONARY:], data, found.end(), pos, max_unpacked_bytes - unpacked)
    if not objects:
        raise RefusedError("malformed", "no object")


def _names(plain: bytes) -> None:
    for found in _NAME.finditer(plain):
        name = found.group(1)
        if b"#" in name:
            name = _ESCAPE.sub(lambda escape: bytes((int(escape.group(1), 16),)), name)
        code = _REFUSED.get(name)
        if code:
            raise RefusedError(code, f"/{name.decode('ascii')}")


def _stream(before: bytes, data: bytes, start: int, end: int, budget: int) -> int:
    """Return the unpacked size of one stream, after searching it when it holds objects."""
    at = before.rfind(b" obj")
    dictionary = before[max(at, 0) :]
    dictionary = _ESCAPE.sub(lambda escape: bytes((int(escape.group(1), 16),)), dictionary)
    objects = b"/ObjStm" in dictionary
    if not _FLATE.search(dictionary):
        if objects and _ANY_FILTER.search(dictionary):
            raise RefusedError("unsupported", "objects packed in an unusual way")
        if objects:
            _names(data[start:end])
        return end - start
    inflater, size, kept = zlib.decompressobj(), 0, bytearray()
    source = data[start:end]
    try:
        while source and not inflater.eof:
            piece = inflater.decompress(source, _STEP)
            size += len(piece)
            if size > budget:
                raise RefusedError("inflates_too_much", "streams")
            if objects:
                kept += piece
                if len(kept) > _KEEP:
                    raise RefusedError("inflates_too_much", "object stream")
            source = inflater.unconsumed_tail
    except zlib.error as error:
        if objects:
            raise RefusedError("malformed", "object stream") from error
    if objects:
        _names(bytes(kept))
    return size
