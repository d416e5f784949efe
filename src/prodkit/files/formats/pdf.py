"""PDF: no scripts, no actions that start by themselves, no embedded files. ISO 32000.

This is not a PDF parser. It finds the names that make a document dangerous, also when their letters are escaped and
inside compressed object streams, and bounds the unpacked size of compressed streams. All revisions of a document are
searched, so that an incremental update cannot hide what a former one held, nor the other way round.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

from prodkit.files.formats.base import RefusedError
from prodkit.files.formats.pdf_actions import OpeningActions

__all__ = ["find_document", "text_before", "walk_pdf"]

_HEADER: Final = re.compile(rb"%PDF-(?:1\.\d|2\.[0-2])(?!\d)")
_BLANK: Final = b"\0\t\n\x0c\r "
# The end mark, then blanks, or the boundary of a multipart body that was saved as it came.
_END: Final = re.compile(rb"%%EOF(?:[\s\0]*--[\w'()+,./:=?-]{4,70})?[\s\0]*\Z")
# Headers of a mail or of an HTTP answer, or a remark: readers look for the document in the first 1,024 bytes. Brackets
# and markup are missing, so that nothing runs it.
_BEFORE: Final = re.compile(rb"[A-Za-z][\w .,:;@'\"/+=?&%\r\n\t-]{0,1000}?\n(?=%PDF-)")
# A dictionary ends before the word; inside a string it is no stream, and what follows is not skipped.
_STREAM: Final = re.compile(rb">>[\s\0]*stream(?:\r?\n|\r)")
_NAME: Final = re.compile(rb"/([^\s\0()<>\[\]{}/%]{1,64})")
_ESCAPE: Final = re.compile(rb"#([0-9a-fA-F]{2})")
_OBJECT: Final = re.compile(rb"\d\s+obj\b")
_FLATE: Final = re.compile(rb"/Filter\s*\[?\s*/(?:FlateDecode|Fl)\s*\]?\s*(?:/|>|$)")
_ANY_FILTER: Final = re.compile(rb"/Filter\b")
_IMAGE: Final = re.compile(rb"/Subtype\s*/Image\b")
_NUMBER: Final = re.compile(rb"/(Width|Height|BitsPerComponent)\s+(\d{1,7})\b")
_PAGE: Final = re.compile(rb"/Type\s*/Page\b")
# Inside skipped data only what no text says by chance: the bait of a string that looks like a stream.
_ACTION: Final = re.compile(rb"/S\s*/(?:JavaScript|Launch)\b|/JS\s*[(<]")
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
_MIB: Final = 2**20
_PAGE_IMAGES: Final = 128 * _MIB  # of one page: A4 in colour at 600 dpi has 104 MB
_ALL_IMAGES: Final = 512 * _MIB  # about a second of inflating
_MAX_PIXELS: Final = 200_000_000
_SLACK: Final = 64 * 1024


def walk_pdf(data: bytes, *, max_unpacked_bytes: int, max_objects: int) -> tuple[str, ...]:
    """Return notes on the document; refuse one that is damaged, active, encrypted, or that carries other files.

    Args:
        data: the whole file.
        max_unpacked_bytes: of all compressed streams but images, which have a budget of their own: by the number of
            pages, and each by its resolution.
        max_objects: of the document, over all its revisions.
    """
    header = _HEADER.search(data, 0, 1024)
    if header is None:
        raise RefusedError("malformed", "PDF header")
    if not _END.search(data, max(0, len(data.rstrip(_BLANK)) - 128)):
        code = "truncated" if b"%%EOF" not in data[-1100:] else "trailing_data"
        raise RefusedError(code, "the end of the document is missing or is not its end")
    pages = len(
        _PAGE.findall(data)
    )  # pages inside object streams are not counted: at least eight are assumed
    images = max(max_unpacked_bytes, min(_ALL_IMAGES, max(8, pages) * _PAGE_IMAGES))
    budget = _Budget(max_unpacked_bytes, images)
    pos, objects, actions = header.end(), 0, OpeningActions()
    while True:
        found = _STREAM.search(data, pos)
        plain = data[pos : found.start() + 2 if found else len(data)]
        _names(plain)
        actions.add(plain)
        if b"%PDF-" in plain:
            raise RefusedError("embedded_file", "a second PDF header")
        objects += len(_OBJECT.findall(plain))
        if objects > max_objects:
            raise RefusedError("too_many_chunks", f"more than {max_objects} objects")
        if found is None:
            break
        pos = data.find(b"endstream", found.end())
        if pos < 0:  # a lost word: the rest is searched as the stream and as what follows it
            objects += _rest(data, found.end(), actions)
            pos = len(data)
        _stream(plain[-_DICTIONARY:], data, found.end(), pos, budget, actions)
    if not objects:
        raise RefusedError("malformed", "no object")
    actions.check()
    return _notes(data)


def _rest(data: bytes, start: int, actions: OpeningActions) -> int:
    """Return the number of objects behind a stream without an end, when it is the last stream of the document."""
    if _STREAM.search(data, start):
        raise RefusedError("truncated", "inside a stream")
    rest = data[start:]
    _names(rest)
    actions.add(rest)
    if b"%PDF-" in rest:
        raise RefusedError("embedded_file", "a second PDF header")
    return len(_OBJECT.findall(rest))


def text_before(head: bytes) -> bool:
    """Return True when a document begins behind some lines of harmless text.

    Args:
        head: the first 1,024 bytes of the file.
    """
    return _BEFORE.match(head) is not None


def find_document(data: bytes) -> tuple[int, int]:
    """Return the offsets between which a damaged document stands: from its header to its last end mark.

    ::

        bytes of a mail or a printer | %PDF-1.7 … %%EOF | padding, a signature's remains, a half of something

    Args:
        data: the whole file.
    """
    header, mark = _HEADER.search(data, 0, 1024), data.rfind(b"%%EOF")
    begin = header.start() if header else 0
    blank = len(data) - len(data[mark + 5 :].lstrip(_BLANK)) if mark >= 0 else len(data)
    return begin, len(data) if mark < begin or blank == len(data) else mark + 5


def _notes(data: bytes) -> tuple[str, ...]:
    revisions = data.count(b"%%EOF") - (b"/Linearized" in data[:1024])
    facts = {"signed": b"/ByteRange" in data, "updated": revisions > 1, "form": b"/AcroForm" in data}
    return tuple(name for name, holds in facts.items() if holds)


class _Budget:
    """Bytes that may still be inflated: of images, and of everything else."""

    __slots__ = ("images", "other")

    def __init__(self, other: int, images: int) -> None:
        self.other = other
        self.images = images

    def allow(self, dictionary: bytes) -> int:
        """Return the bytes that one stream may inflate to."""
        if not _IMAGE.search(dictionary):
            return self.other
        numbers = dict[bytes, int]()
        for name, value in _NUMBER.findall(
            dictionary
        ):  # a predictor or a palette repeats a name: the largest holds
            numbers[name] = max(numbers.get(name, 0), int(value))
        width, height = numbers.get(b"Width", 0), numbers.get(b"Height", 0)
        if width * height > _MAX_PIXELS:
            raise RefusedError("inflates_too_much", f"an image of {width}x{height}")
        # Four components at most, and one byte more a row for its predictor.
        row = 1 + (width * min(numbers.get(b"BitsPerComponent", 1), 16) * 4 + 7) // 8
        return min(self.images, height * row + _SLACK)

    def spend(self, dictionary: bytes, size: int) -> None:
        """Count the bytes of one stream."""
        if _IMAGE.search(dictionary):
            self.images -= size
        else:
            self.other -= size


def _names(plain: bytes) -> None:
    for found in _NAME.finditer(plain):
        name = found.group(1)
        if b"#" in name:
            name = _unescaped(name)
        code = _REFUSED.get(name)
        if code:
            raise RefusedError(code, f"/{name.decode('ascii')}")


def _unescaped(name: bytes) -> bytes:
    return _ESCAPE.sub(lambda escape: bytes((int(escape.group(1), 16),)), name)


def _stream(
    before: bytes, data: bytes, start: int, end: int, budget: _Budget, actions: OpeningActions
) -> None:
    """Inflate one stream within the budget, and search it when it holds objects."""
    at = before.rfind(b" obj")
    dictionary = _unescaped(before[max(at, 0) :])
    objects = b"/ObjStm" in dictionary
    if not _FLATE.search(dictionary):
        if objects and _ANY_FILTER.search(dictionary):
            raise RefusedError("unsupported", "objects packed in an unusual way")
        if objects:
            _names(data[start:end])
            actions.add(data[start:end], dictionary)
        _skipped(data, start, end)
        return
    inflater, size, kept = zlib.decompressobj(), 0, bytearray()
    source, limit = data[start:end], budget.allow(dictionary)
    try:
        while source and not inflater.eof:
            piece = inflater.decompress(source, _STEP)
            size += len(piece)
            if size > limit:
                raise RefusedError("inflates_too_much", "streams")
            if objects:
                kept += piece
                if len(kept) > _KEEP:
                    raise RefusedError("inflates_too_much", "object stream")
            source = inflater.unconsumed_tail
    except zlib.error as error:
        if objects:
            raise RefusedError("malformed", "object stream") from error
        _skipped(data, start, end)
    budget.spend(dictionary, size)
    if objects:
        _names(bytes(kept))
        actions.add(bytes(kept), dictionary)


def _skipped(data: bytes, start: int, end: int) -> None:
    if _ACTION.search(data, start, end):
        raise RefusedError("active_content", "an action inside a stream")
