"""JPEG: markers and segments, one frame, a bounded number of scans. ISO/IEC 10918-1 annex B."""

from __future__ import annotations

import re
from typing import Final

from prodkit.files.formats.base import ImageFacts, ImageLimits, RefusedError, without

__all__ = ["walk_jpeg"]

# The next marker inside entropy-coded data: FF followed by anything but a stuffed zero, a restart or another fill byte.
_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_MARKER_OR_RESTART: Final = re.compile(rb"\xff[\x01-\xfe]")
_FRAMES: Final = frozenset((0xC0, 0xC1, 0xC2))  # what every browser decodes: baseline, extended, progressive
_MAX_FILL: Final = 4096
_MAX_FOREIGN: Final = 2**16  # bytes between segments that a repair skips
_SEGMENT: Final = re.compile(rb"\xff[\xc0-\xcf\xd9-\xef\xfe]")
_COMMENT: Final = 0xFE
_ALL_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

# JFIF, EXIF and XMP, profiles and multi-picture index, content credentials, Photoshop, Adobe.
_KNOWN_SEGMENTS: Final = frozenset((0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE))


def walk_jpeg(data: bytes, limits: ImageLimits, start: int = 0) -> ImageFacts:
    """Walk the JPEG that begins at `start`, up to and including its end-of-image marker."""
    if data[start : start + 3] != b"\xff\xd8\xff":
        raise RefusedError("malformed", "no start of image")
    if data[start + 4 : start + 6] == b"/*":  # a length that opens a comment of JavaScript
        raise RefusedError("active_content", "a script that looks like a JPEG")
    return _Walk(data, limits, start).run()


class _Walk:
    __slots__ = (
        "bands",
        "components",
        "data",
        "facts",
        "gaps",
        "limits",
        "meta",
        "pos",
        "progressive",
        "restarts",
        "scans",
        "segments",
        "shown",
    )

    def __init__(self, data: bytes, limits: ImageLimits, start: int) -> None:
        self.data = data
        self.limits = limits
        self.pos = start + 2
        self.facts = ImageFacts("jpeg")
        self.components: frozenset[int] = frozenset()
        self.progressive = False
        self.restarts = False
        self.bands: dict[int, list[int]] = {}
        self.scans = 0
        self.shown: set[int] = set()
        self.segments = 0
        self.meta = 0
        self.gaps: list[tuple[int, int]] = []

    def run(self) -> ImageFacts:
        start = self.pos - 2
        while True:
            marker = self._marker()
            if marker == 0xD9:
                break
            if marker == 0xD8 or marker < 0xC0 or 0xD0 <= marker <= 0xD7 or 0xF0 <= marker <= 0xFD:
                raise RefusedError("malformed", f"marker {marker:02X} in the wrong place")
            body, end = self._segment()
            if marker == 0xDA:
                self._scan(body, end)
            elif marker >= 0xE0:
                self._metadata(marker, body, end)
            else:
                self._table(marker, body, end)
        if not self.scans:
            raise RefusedError("malformed", "no picture before the end of image")
        if self.shown != self.components or any(max(bits) for bits in self.bands.values()):
            raise RefusedError("truncated", "scans are missing")
        self.facts.end = self.pos
        if self.gaps:
            self.facts.rebuilt = without(self.data, start, self.pos, self.gaps)
        return self.facts

    def _marker(self) -> int:
        data, pos = self.data, self.pos
        if pos + 1 >= len(data):
            raise RefusedError("truncated", "no end of image")
        if data[pos] != 0xFF:
            pos = self._foreign(pos)
        began = pos
        while data[pos] == 0xFF:  # fill bytes are legal, but decoders read them one by one
            pos += 1
            if pos >= len(data):
                raise RefusedError("truncated", "no end of image")
            if pos - began > _MAX_FILL:
                raise RefusedError("malformed", f"more than {_MAX_FILL} fill bytes")
        self.pos = pos + 1
        return data[pos]

    def _foreign(self, pos: int) -> int:
        """Skip bytes between two segments, as decoders do; a repair leaves them out."""
        self.facts.damaged(self.limits, "foreign_bytes", "malformed", "bytes between segments")
        found = _SEGMENT.search(self.data, pos, pos + _MAX_FOREIGN)
        if found is None:
            raise RefusedError("malformed", "bytes between segments")
        self.gaps.append((pos, found.start()))
        return found.start()

    def _segment(self) -> tuple[int, int]:
        self.segments += 1
        if self.segments > self.limits.max_chunks:
            raise RefusedError("too_many_chunks", f"more than {self.limits.max_chunks} segments")
        data, pos = self.data, self.pos
        if pos + 2 > len(data):
            raise RefusedError("truncated", "inside a segment")
        length = int.from_bytes(data[pos : pos + 2], "big")
        if length < 2:
            raise RefusedError("malformed", f"segment of length {length}")
        if pos + length > len(data):
            raise RefusedError("truncated", "inside a segment")
        self.pos = pos + length
        return pos + 2, pos + length

    def _metadata(self, marker: int, body: int, end: int) -> None:
        facts = self.facts
        facts.metadata.append((body, end))
        self.meta += end - body
        if len(facts.metadata) > self.limits.max_metadata_chunks:
            raise RefusedError("metadata_too_large", f"more than {self.limits.max_metadata_chunks} segments")
        if self.meta > self.limits.max_metadata_bytes:
            raise RefusedError("metadata_too_large", f"more than {self.limits.max_metadata_bytes} bytes")
        if marker == 0xE0 and self.data[body : body + 5] == b"JFIF\0":
            self._jfif(body, end)
        elif marker == _COMMENT:
            facts.comment(self.limits, self.data[body:end])
        elif marker not in _KNOWN_SEGMENTS:
            facts.private(self.limits, body, end)

    def _table(self, marker: int, body: int, end: int) -> None:
        data = self.data
        if marker in _ALL_FRAMES:
            self._frame(marker, body, end)
        elif marker == 0xC4:
            body = _huffman(data, body, end)
        elif marker == 0xDB:
            body = _quantisation(data, body, end)
        elif marker == 0xDD:
            if end - body != 2:
                raise RefusedError("malformed", "restart interval")
            self.restarts = any(data[body:end])
            body = end
        elif marker == 0xCC:
            if (end - body) % 2:
                raise RefusedError("malformed", "arithmetic conditioning")
            body = end
        else:  # DNL, DHP, EXP, JPG: nothing that a phone or an editor writes
            raise RefusedError("malformed", f"marker {marker:02X}")
        if marker not in _ALL_FRAMES and body != end:
            raise RefusedError("malformed", f"table of marker {marker:02X} is longer or shorter than it says")

    def _frame(self, marker: int, body: int, end: int) -> None:
        data = self.data
        if self.components:
            raise RefusedError("malformed", "two frame headers")
        if marker not in _FRAMES:
            raise RefusedError("unsupported", f"JPEG process {marker:02X}")
        count = data[body + 5] if end - body >= 6 else 0
        if end - body != 6 + 3 * count or count not in (1, 3, 4):
            raise RefusedError("malformed", "frame header")
        if data[body] != 8:
            raise RefusedError("unsupported", f"{data[body]} bits a sample")
        height, width = (
            int.from_bytes(data[body + 1 : body + 3], "big"),
            int.from_bytes(data[body + 3 : body + 5], "big"),
        )
        self.limits.size(width, height)
        self.facts.width, self.facts.height = width, height
        for each in range(body + 6, end, 3):
            sampling = data[each + 1]
            if not (1 <= sampling >> 4 <= 4 and 1 <= sampling & 15 <= 4) or data[each + 2] > 3:
                raise RefusedError("malformed", "component sampling")
        self.components = frozenset(data[body + 6 : end : 3])
        if len(self.components) != count:
            raise RefusedError("malformed", "two components of one name")
        self.progressive = marker == 0xC2

    def _scan(self, body: int, end: int) -> None:
        data = self.data
        count = data[body] if end > body else 0
        if not self.components or not 1 <= count <= 4 or end - body != 4 + 2 * count:
            raise RefusedError("malformed", "scan header")
        names = data[body + 1 : end - 3 : 2]
        if not self.components.issuperset(names) or len(set(names)) != count:
            raise RefusedError("malformed", "scan of an unknown component")
        self.scans += 1
        # A sequential picture shows each component once; more would be decoded again and again for nothing.
        limit = self.limits.max_scans if self.progressive else len(self.components)
        if self.scans > limit:
            raise RefusedError("too_many_scans", f"more than {limit} scans")
        self.shown |= set(names)
        if self.progressive:
            self._band(names, *data[end - 3 : end])
        found = (_MARKER if self.restarts else _MARKER_OR_RESTART).search(data, end)
        if found is None:
            raise RefusedError("truncated", "no end of image")
        self.pos = found.start()

    def _band(self, names: bytes, first: int, last: int, bits: int) -> None:
        """Note how many low bits each coefficient still lacks: a complete picture ends with none."""
        if first > last or last > 63 or (first == 0) != (last == 0) or (first and len(names) > 1):
            raise RefusedError("malformed", "spectral band")
        for name in names:
            lacking = self.bands.setdefault(name, [16] * 64)
            lacking[first : last + 1] = [bits & 15] * (last + 1 - first)

    def _jfif(self, body: int, end: int) -> None:
        """Check that the header ends with its thumbnail, or with the mark of Apple's multi-picture files.

        iPhones write HDR photos with four further bytes::

            FF E0 00 14  J F I F 00  01 01  00  00 48 00 48  00 00  A M P F
                         identifier  1.01   density          no thumbnail
        """
        data, facts, length = self.data, self.facts, end - body
        thumbnail = 3 * data[body + 12] * data[body + 13] if length >= 14 else 0
        if length == 14 + thumbnail:
            return
        if length == 18 and not thumbnail and data[end - 4 : end] == b"AMPF":
            facts.ampf = True
        else:
            facts.damaged(self.limits, "structure", "malformed", "length of the JFIF header")


def _huffman(data: bytes, body: int, end: int) -> int:
    while body < end:
        count = sum(data[body + 1 : body + 17])
        if body + 17 > end or data[body] & 0xE0 or data[body] & 0x0F > 3 or count > 256:
            raise RefusedError("malformed", "Huffman table")
        body += 17 + count
    return body


def _quantisation(data: bytes, body: int, end: int) -> int:
    while body < end:
        if data[body] >> 4 > 1 or data[body] & 0x0F > 3:
            raise RefusedError("malformed", "quantisation table")
        body += 129 if data[body] >> 4 else 65
    return body
