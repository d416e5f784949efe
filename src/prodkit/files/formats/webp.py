"""WebP: the RIFF container and the headers of its bitstreams. RFC 9649."""

from __future__ import annotations

from typing import Final

from prodkit.files.formats.base import ImageFacts, ImageLimits, RefusedError

__all__ = ["walk_webp"]

_DECODED: Final = frozenset((b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"))
_FLAGS: Final = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}


def walk_webp(data: bytes, limits: ImageLimits) -> ImageFacts:
    """Walk every chunk of the RIFF form."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise RefusedError("malformed", "WebP signature")
    size = int.from_bytes(data[4:8], "little")
    end = 8 + size
    if size < 12:
        raise RefusedError("malformed", "RIFF size")
    if end > len(data):
        raise RefusedError("truncated", f"RIFF announces {end} bytes, {len(data)} arrived")
    return _Walk(data, limits, end).run()


class _Walk:
    __slots__ = (
        "data",
        "end",
        "extended",
        "facts",
        "flags",
        "frames",
        "limits",
        "meta",
        "parts",
        "pictures",
        "seen",
    )

    def __init__(self, data: bytes, limits: ImageLimits, end: int) -> None:
        self.data = data
        self.limits = limits
        self.end = end
        self.facts = ImageFacts("webp")
        self.extended = False
        self.flags = 0
        self.pictures = 0
        self.frames = 0
        self.seen: set[bytes] = set()
        self.meta = 0
        self.parts: list[tuple[bytes, int, int]] = []

    def run(self) -> ImageFacts:
        facts = self.facts
        self.parts = self._chunks(12, self.end)
        for index, (name, body, end) in enumerate(self.parts):
            self._chunk(index, name, body, end)
        frames = self.frames
        if frames and self.pictures:
            raise RefusedError("malformed", "still picture and animation in one file")
        if not frames and self.pictures != 1:
            raise RefusedError("truncated" if not self.pictures else "malformed", "one picture expected")
        if bool(self.flags & 2) != bool(frames):
            raise RefusedError("malformed", "animation flag")
        for name, bit in _FLAGS.items():
            if self.extended and bool(self.flags & bit) != (name in self.seen):
                facts.damaged(self.limits, "structure", "malformed", f"flag of {name.decode('ascii')}")
        facts.frames = frames or 1
        facts.end = self.end
        if facts.repairs:
            facts.rebuilt = self._rebuild()
        return facts

    def _rebuild(self) -> bytes:
        """Write only the chunks that decoders use, under a header that describes them."""
        out = bytearray()
        for name, body, end in self.parts:
            content = bytearray(self.data[body:end])
            if name == b"VP8X":
                content[0] = (self.flags & 0x12) | (0x10 if b"ALPH" in self.seen else 0)
            elif name not in _DECODED:
                continue
            out += name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) & 1)
        return b"RIFF" + (4 + len(out)).to_bytes(4, "little") + b"WEBP" + bytes(out)

    def _chunk(self, index: int, name: bytes, body: int, end: int) -> None:
        facts = self.facts
        self.seen.add(name)
        if name == b"VP8X":
            if index:
                raise RefusedError("malformed", "VP8X is not the first chunk")
            self._vp8x(body, end)
        elif not self.extended:
            if name in (b"VP8 ", b"VP8L") and not self.pictures:
                facts.width, facts.height = self._picture(name, body, end)
            elif not self.pictures or name in _DECODED:
                raise RefusedError("malformed", "chunk of a simple WebP")
            else:  # RFC 9649, 2.7: readers ignore unknown chunks
                self._metadata(body, end)
        elif name == b"ANMF":
            self.frames += 1
            self._frame(body, end)
            self.limits.animation(self.frames, facts.width, facts.height)
        elif name in (b"VP8 ", b"VP8L"):
            if self._picture(name, body, end) != (facts.width, facts.height):
                raise RefusedError("malformed", "canvas and picture differ")
        elif name == b"ANIM":
            if end - body != 6:
                raise RefusedError("malformed", "ANIM")
        elif name != b"ALPH":
            self._metadata(body, end)

    def _chunks(self, pos: int, limit: int) -> list[tuple[bytes, int, int]]:
        data, found = self.data, list[tuple[bytes, int, int]]()
        while pos < limit:
            if pos + 8 > limit:
                if any(data[pos:limit]):
                    self.facts.damaged(
                        self.limits, "foreign_bytes", "malformed", "bytes after the last chunk"
                    )
                break
            length = int.from_bytes(data[pos + 4 : pos + 8], "little")
            end = pos + 8 + length
            if end > limit:
                raise RefusedError("truncated", "inside a chunk")
            found.append((data[pos : pos + 4], pos + 8, end))
            if len(found) > self.limits.max_chunks:
                raise RefusedError("too_many_chunks", f"more than {self.limits.max_chunks} chunks")
            if length & 1 and end < limit and data[end]:
                self.facts.damaged(self.limits, "foreign_bytes", "malformed", "padding that is not zero")
            pos = end + (length & 1)
        return found

    def _vp8x(self, body: int, end: int) -> None:
        data = self.data
        if end - body != 10:
            raise RefusedError("malformed", "VP8X")
        self.extended = True
        self.flags = data[body]
        if self.flags & 0xC1 or any(data[body + 1 : body + 4]):
            raise RefusedError("malformed", "reserved bits")
        width = 1 + int.from_bytes(data[body + 4 : body + 7], "little")
        height = 1 + int.from_bytes(data[body + 7 : body + 10], "little")
        self.limits.size(width, height)
        self.facts.width, self.facts.height = width, height

    def _picture(self, name: bytes, body: int, end: int) -> tuple[int, int]:
        self.pictures += 1
        width, height = self._lossy(body, end) if name == b"VP8 " else self._lossless(body, end)
        self.limits.size(width, height)
        return width, height

    def _lossy(self, body: int, end: int) -> tuple[int, int]:
        data = self.data
        if end - body < 10:
            raise RefusedError("truncated", "VP8 header")
        tag = int.from_bytes(data[body : body + 3], "little")
        if tag & 1 or data[body + 3 : body + 6] != b"\x9d\x01\x2a":
            raise RefusedError("malformed", "VP8 header")
        if tag >> 5 > end - body - 10:
            raise RefusedError("truncated", "VP8 partition")
        width = int.from_bytes(data[body + 6 : body + 8], "little") & 0x3FFF
        height = int.from_bytes(data[body + 8 : body + 10], "little") & 0x3FFF
        return width, height

    def _lossless(self, body: int, end: int) -> tuple[int, int]:
        data = self.data
        if end - body < 5:
            raise RefusedError("truncated", "VP8L header")
        bits = int.from_bytes(data[body + 1 : body + 5], "little")
        if data[body] != 0x2F or bits >> 29:
            raise RefusedError("malformed", "VP8L header")
        self.facts.lossless = True
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)

    def _frame(self, body: int, end: int) -> None:
        data, facts = self.data, self.facts
        if end - body < 24:
            raise RefusedError("truncated", "ANMF")
        x, y = (2 * int.from_bytes(data[body + at : body + at + 3], "little") for at in (0, 3))
        width, height = (1 + int.from_bytes(data[body + at : body + at + 3], "little") for at in (6, 9))
        if x + width > facts.width or y + height > facts.height:
            raise RefusedError("malformed", "animation frame outside the canvas")
        pictures = 0
        for name, start, stop in self._chunks(body + 16, end):
            if name in (b"VP8 ", b"VP8L"):
                pictures += 1
                if self._picture(name, start, stop) != (width, height):
                    raise RefusedError("malformed", "animation frame of another size than its picture")
                self.pictures -= 1
            elif name != b"ALPH":
                self._metadata(start, stop)
        if pictures != 1:
            raise RefusedError("malformed", "animation frame without a picture")

    def _metadata(self, body: int, end: int) -> None:
        facts = self.facts
        facts.metadata.append((body, end))
        self.meta += end - body
        if (
            len(facts.metadata) > self.limits.max_metadata_chunks
            or self.meta > self.limits.max_metadata_bytes
        ):
            raise RefusedError("metadata_too_large", f"{self.meta} bytes in {len(facts.metadata)} chunks")
