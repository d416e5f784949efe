"""AVIF and HEIC: the boxes of an ISO base media file and the sizes they announce. ISO/IEC 14496-12, 23008-12."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prodkit.files.formats.base import ImageFacts, ImageLimits, RefusedError

__all__ = ["walk_avif", "walk_heic"]

_TOP: Final = frozenset((b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"wide", b"uuid", b"idat"))
_NESTED: Final = frozenset((b"iprp", b"ipco", b"trak", b"mdia", b"minf", b"stbl", b"moov"))
_MAX_DEPTH: Final = 8


def walk_avif(data: bytes, limits: ImageLimits) -> ImageFacts:
    """Walk an AVIF picture or sequence."""
    return _Walk(data, limits, "avif").run()


def walk_heic(data: bytes, limits: ImageLimits) -> ImageFacts:
    """Walk a HEIC picture."""
    return _Walk(data, limits, "heic").run()


class _Walk:
    __slots__ = ("boxes", "data", "facts", "limits", "meta", "samples", "seen")

    def __init__(self, data: bytes, limits: ImageLimits, kind: str) -> None:
        self.data = data
        self.limits = limits
        self.facts = ImageFacts(kind)
        self.boxes = 0
        self.meta = 0
        self.samples = 0
        self.seen: set[bytes] = set()

    def run(self) -> ImageFacts:
        facts, data = self.facts, self.data
        for index, (name, body, end) in enumerate(self._walk(0, len(data), top=True)):
            if (index == 0) != (name == b"ftyp"):
                raise RefusedError("malformed", "ftyp is not the first box")
            self.seen.add(name)
            if name == b"meta":
                self._children(body + 4, end, 1)
            elif name == b"moov":
                self._children(body, end, 1)
            elif name in (b"uuid", b"free", b"skip"):
                self._metadata(body, end)
            facts.end = end
        if not facts.width or not {b"mdat", b"meta"} & self.seen:
            raise RefusedError("truncated", "no picture in the file")
        facts.frames = max(1, self.samples)
        self.limits.animation(facts.frames, facts.width, facts.height)
        return facts

    def _walk(self, pos: int, limit: int, *, top: bool = False) -> Iterator[tuple[bytes, int, int]]:
        data = self.data
        while pos < limit:
            if top and self._ends(pos):
                return
            self.boxes += 1
            if self.boxes > self.limits.max_chunks:
                raise RefusedError("too_many_chunks", f"more than {self.limits.max_chunks} boxes")
            if pos + 8 > limit:
                raise RefusedError("malformed", "bytes after the last box")
            length, name, head = int.from_bytes(data[pos : pos + 4], "big"), data[pos + 4 : pos + 8], 8
            if length == 1:
                length, head = int.from_bytes(data[pos + 8 : pos + 16], "big"), 16
            elif length == 0 and top:
                length = limit - pos
            if top and name not in _TOP:
                raise RefusedError("trailing_data", "unknown box")
            if length < head:
                raise RefusedError("malformed", "box size")
            if pos + length > limit:
                raise RefusedError("truncated", "inside a box")
            yield name, pos + head, pos + length
            pos += length

    def _ends(self, pos: int) -> bool:
        """Return True where no box of a picture begins: what stands there is a trailer."""
        name = self.data[pos + 4 : pos + 8]
        return name not in _TOP and (b"meta" in self.seen or b"moov" in self.seen)

    def _children(self, body: int, end: int, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise RefusedError("malformed", "boxes too deep")
        for name, start, stop in self._walk(body, end):
            if name in _NESTED:
                self._children(start, stop, depth + 1)
            elif name == b"ispe":
                if stop - start != 12:
                    raise RefusedError("malformed", "ispe")
                self._size(*(int.from_bytes(self.data[start + at : start + at + 4], "big") for at in (4, 8)))
            elif name == b"tkhd":
                if stop - start < 84:
                    raise RefusedError("malformed", "tkhd")
                width, height = (
                    int.from_bytes(self.data[stop - at : stop - at + 4], "big") >> 16 for at in (8, 4)
                )
                if width and height:
                    self._size(width, height)
            elif name == b"stsz":
                if stop - start < 12:
                    raise RefusedError("malformed", "stsz")
                count = int.from_bytes(self.data[start + 8 : start + 12], "big")
                self.limits.animation(count, 1, 1)
                self.samples = max(self.samples, count)

    def _size(self, width: int, height: int) -> None:
        self.limits.size(width, height)
        facts = self.facts
        facts.width, facts.height = max(facts.width, width), max(facts.height, height)

    def _metadata(self, body: int, end: int) -> None:
        self.facts.metadata.append((body, end))
        self.meta += end - body
        if self.meta > self.limits.max_metadata_bytes:
            raise RefusedError("metadata_too_large", f"{self.meta} bytes")
