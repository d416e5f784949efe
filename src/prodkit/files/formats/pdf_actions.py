"""Actions that a PDF runs when it is opened or turned: those that leave the document are refused.

A link that the reader clicks is honest; the same action under ``/OpenAction`` or ``/AA`` calls a server, or hands the
reader's password hash to one, before anybody has read a word::

    /Annots [<< /A << /S /URI /URI (https://…) >> >>]       passes
    /OpenAction << /S /URI /URI (https://…) >>              refused
    /AA << /O 12 0 R >>  …  12 0 obj << /S /GoToR /F (\\\\server\\a.pdf) >>    refused
    /OpenAction [3 0 R /Fit]                                passes: a place in the document
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from prodkit.files.formats.base import RefusedError

__all__ = ["OpeningActions"]

_GAP: Final = rb"(?:[\s\0]|%[^\r\n]{0,200}[\r\n])*"
_OPENING: Final = re.compile(rb"/(?:OpenAction|AA)" + _GAP + rb"(?=<<|\d)")
_REFERENCE: Final = re.compile(rb"(\d{1,10})" + _GAP + rb"\d{1,5}" + _GAP + rb"R\b")
# The events of documents, pages, fields and annotations, and the action that follows another one.
_EVENT: Final = re.compile(
    rb"/(?:E|X|D|U|Fo|Bl|PO|PC|PV|PI|O|C|K|F|V|WC|WS|DS|WP|DP|Next)" + _GAP + rb"(?=\d)"
)
_LEAVES: Final = re.compile(rb"/S" + _GAP + rb"/(URI|GoToR|Rendition)\b")
_OBJECT: Final = re.compile(rb"(?<!\d)(\d{1,10})\s+\d{1,5}\s+obj\b")
_BRACKETS: Final = re.compile(rb"<<|>>")
_ESCAPE: Final = re.compile(rb"#([0-9a-fA-F]{2})")
_FIRST: Final = re.compile(rb"/First\s+(\d{1,9})")
_PAIR: Final = re.compile(rb"\s*(\d{1,10})\s+(\d{1,10})")
_MAX_KEPT: Final = 64 * 2**20
_MAX_DICTIONARY: Final = 8192
_MAX_FOLLOWED: Final = 200
_MAX_READ: Final = 4 * 2**20  # of all dictionaries; honest ones end after a hundred bytes


class OpeningActions:
    """Collect the text of a document piece by piece, then follow what starts by itself."""

    def __init__(self) -> None:
        self._pieces: list[tuple[bytes, bytes | None]] = []
        self._kept = 0
        self._starts = False
        self._read = 0

    def add(self, text: bytes, packed: bytes | None = None) -> None:
        """Take one stretch of the document.

        Args:
            text: without the content of streams, or the content of an object stream.
            packed: the dictionary of that object stream; None for a stretch of the file itself.
        """
        if b"#" in text:
            text = _ESCAPE.sub(lambda escape: bytes((int(escape.group(1), 16),)), text)
        self._kept += len(text)
        if self._kept > _MAX_KEPT:
            raise RefusedError("inflates_too_much", "object streams")
        self._starts = self._starts or b"/OpenAction" in text or b"/AA" in text
        self._pieces.append((text, packed))

    def check(self) -> None:
        """Refuse a document with an action that starts by itself and leaves it."""
        if not self._starts:
            return
        pending = list[int]()
        for text, _ in self._pieces:
            for found in _OPENING.finditer(text):
                pending += self._follow(text, found.end())
        objects = self._objects() if pending else {}
        seen = set[int]()
        while pending:
            number = pending.pop()
            if number in seen:
                continue
            seen.add(number)
            if len(seen) > _MAX_FOLLOWED:
                raise RefusedError("active_content", "a maze of actions")
            for text, start in objects.get(number, ()):
                pending += self._follow(text, start)

    def _follow(self, text: bytes, start: int) -> list[int]:
        """Return the objects that the value at `start` runs; refuse it when it leaves the document itself."""
        reference = _REFERENCE.match(text, start)
        if reference:
            return [int(reference.group(1))]
        value = _dictionary(text, start)
        self._read += len(value)
        if self._read > _MAX_READ:
            raise RefusedError("active_content", "a maze of actions")
        leaves = _LEAVES.search(value)
        if leaves:
            raise RefusedError("active_content", f"/{leaves.group(1).decode('ascii')} that starts by itself")
        return [
            int(reference.group(1))
            for found in _EVENT.finditer(value)
            if (reference := _REFERENCE.match(value, found.end()))
        ]

    def _objects(self) -> dict[int, list[tuple[bytes, int]]]:
        """Return where each object begins; revisions of one number are all kept."""
        objects = dict[int, list[tuple[bytes, int]]]()
        for text, packed in self._pieces:
            for number, start in _packed(text, packed) if packed is not None else _plain(text):
                objects.setdefault(number, []).append((text, start))
        return objects


def _plain(text: bytes) -> Iterator[tuple[int, int]]:
    for found in _OBJECT.finditer(text):
        yield int(found.group(1)), found.end()


def _packed(text: bytes, dictionary: bytes) -> Iterator[tuple[int, int]]:
    first = _FIRST.search(dictionary)
    begin = int(first.group(1)) if first else 0
    pos = 0
    while pos < begin and (pair := _PAIR.match(text, pos, begin)):
        yield int(pair.group(1)), begin + int(pair.group(2))
        pos = pair.end()


def _dictionary(text: bytes, start: int) -> bytes:
    """Return the dictionary at `start` up to its closing bracket, b"" for another value."""
    opening = re.compile(_GAP + rb"<<").match(text, start)
    if opening is None:
        return b""
    depth = 0
    for bracket in _BRACKETS.finditer(text, start, start + _MAX_DICTIONARY):
        depth += 1 if bracket.group() == b"<<" else -1
        if not depth:
            return text[start : bracket.end()]
    return text[start : start + _MAX_DICTIONARY]
