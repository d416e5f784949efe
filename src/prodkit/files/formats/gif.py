"""GIF: blocks and sub-blocks, a bounded number of frames. CompuServe GIF89a specification."""

from __future__ import annotations

import re
from typing import Final

from prodkit.files.formats.base import ImageFacts, ImageLimits, RefusedError, without

__all__ = ["walk_gif"]

_MAX_FOREIGN: Final = 2**16  # bytes between blocks that a repair skips
_BLOCK: Final = re.compile(rb"[\x21\x2c\x3b]")

_KNOWN_APPLICATIONS: Final = frozenset((b"NETSCAPE2.0", b"ANIMEXTS1.0", b"XMP DataXMP", b"ICCRGBG1012"))


def walk_gif(data: bytes, limits: ImageLimits) -> ImageFacts:
    """Walk every block, up to and including the trailer byte."""
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        raise RefusedError("malformed", "GIF signature")
    if len(data) < 13:
        raise RefusedError("truncated", "screen descriptor")
    return _Walk(data, limits).run()


class _Walk:
    __slots__ = ("blocks", "data", "facts", "gaps", "height", "limits", "meta", "pieces", "width")

    def __init__(self, data: bytes, limits: ImageLimits) -> None:
        self.data = data
        self.limits = limits
        self.facts = ImageFacts("gif", frames=0)
        self.width = int.from_bytes(data[6:8], "little")
        self.height = int.from_bytes(data[8:10], "little")
        self.blocks = 0
        self.pieces = 0
        self.meta = 0
        self.gaps: list[tuple[int, int]] = []

    def run(self) -> ImageFacts:
        data, facts, limits = self.data, self.facts, self.limits
        limits.size(self.width, self.height)
        pos = self._palette(10, 13)
        while True:
            if pos >= len(data):
                if not facts.frames:
                    raise RefusedError("truncated", "no GIF trailer")
                facts.damaged(limits, "missing_end", "truncated", "no GIF trailer")
                pos = len(data)
                break
            kind = data[pos]
            if kind == 0x3B:
                break
            self.blocks += 1
            if self.blocks > limits.max_chunks:
                raise RefusedError("too_many_chunks", f"more than {limits.max_chunks} blocks")
            if kind == 0x2C:
                pos = self._image(pos)
            elif kind == 0x21:
                pos = self._extension(pos)
            else:
                pos = self._foreign(pos)
        if not facts.frames:
            raise RefusedError("malformed", "GIF without a picture")
        facts.width, facts.height = self.width, self.height
        facts.end = min(pos + 1, len(data))
        if facts.repairs:
            facts.rebuilt = without(data, 0, pos, self.gaps) + b"\x3b"
        return facts

    def _foreign(self, pos: int) -> int:
        """Skip bytes between two blocks, as decoders do; a repair leaves them out."""
        self.facts.damaged(self.limits, "foreign_bytes", "malformed", "unknown GIF block")
        found = _BLOCK.search(self.data, pos, pos + _MAX_FOREIGN)
        end = len(self.data) if found is None else found.start()
        if end - pos > _MAX_FOREIGN:
            raise RefusedError("malformed", "unknown GIF block")
        self.gaps.append((pos, end))
        return end

    def _palette(self, flags: int, pos: int) -> int:
        if not self.data[flags] & 0x80:
            return pos
        end = pos + (6 << (self.data[flags] & 7))
        if end > len(self.data):
            raise RefusedError("truncated", "palette")
        self.facts.metadata.append((pos, end))
        return end

    def _image(self, pos: int) -> int:
        data, facts, limits = self.data, self.facts, self.limits
        if pos + 11 > len(data):
            raise RefusedError("truncated", "image descriptor")
        x, y, width, height = (int.from_bytes(data[pos + at : pos + at + 2], "little") for at in (1, 3, 5, 7))
        if not width or not height:
            raise RefusedError("malformed", "empty frame")
        # Frames that stick out of the screen exist in honest files: browsers clip them, some decoders enlarge the
        # canvas for them, so the enlarged one is what has to keep the limits.
        self.width, self.height = max(self.width, x + width), max(self.height, y + height)
        limits.size(self.width, self.height)
        facts.frames += 1
        limits.animation(facts.frames, self.width, self.height)
        pos = self._palette(pos + 9, pos + 10)
        if pos >= len(data):
            raise RefusedError("truncated", "frame")
        if not 1 <= data[pos] <= 11:
            raise RefusedError("malformed", "LZW code size")
        end = self._sub_blocks(pos + 1)
        if end == pos + 2:
            raise RefusedError("malformed", "frame without pixels")
        return end

    def _extension(self, pos: int) -> int:
        data = self.data
        if pos + 2 >= len(data):
            raise RefusedError("truncated", "extension")
        end = self._sub_blocks(pos + 2)
        if data[pos + 1] == 0xF9:
            if data[pos + 2] != 4 or end != pos + 8:
                raise RefusedError("malformed", "graphic control")
            return end
        self.facts.metadata.append((pos + 2, end))
        if data[pos + 1] == 0xFE:
            self.facts.comment(self.limits, self._joined(pos + 2, end))
        elif data[pos + 1] != 0xFF or data[pos + 3 : pos + 14] not in _KNOWN_APPLICATIONS:
            self.facts.private(self.limits, pos + 2, end)
        self.meta += end - pos
        if len(self.facts.metadata) > 2 * self.limits.max_metadata_chunks:
            raise RefusedError("metadata_too_large", "too many comments")
        if self.meta > self.limits.max_metadata_bytes:
            raise RefusedError("metadata_too_large", f"more than {self.limits.max_metadata_bytes} bytes")
        return end

    def _joined(self, pos: int, end: int) -> bytes:
        """Return the content of sub-blocks without their lengths."""
        parts = list[bytes]()
        while pos < end - 1:
            stop = pos + 1 + self.data[pos]
            parts.append(self.data[pos + 1 : stop])
            pos = stop
        return b"".join(parts)

    def _sub_blocks(self, pos: int) -> int:
        data, size, limit = self.data, len(self.data), 10 * self.limits.max_chunks
        while pos < size:
            length = data[pos]
            pos += 1 + length
            if not length:
                return pos
            self.pieces += 1
            if self.pieces > limit:
                raise RefusedError("too_many_chunks", f"more than {limit} sub-blocks")
        raise RefusedError("truncated", "inside a block")
