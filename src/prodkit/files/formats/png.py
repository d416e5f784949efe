"""PNG and APNG: chunks and their checksums; the pixel stream must inflate to exactly its size. W3C PNG, 3rd ed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

from prodkit.files.formats.base import ImageFacts, ImageLimits, RefusedError

__all__ = ["walk_png"]

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_TEXT_LIMIT: Final = 2**20  # of one compressed text or profile, the limit that Pillow keeps as well
_PROFILE_LIMIT: Final = 4 * 2**20
_INFLATE_LIMIT: Final = 256 * 2**20  # larger pictures are counted by the decoder, under its own time limit
_STEP: Final = 2**16
_ANIMATION: Final = frozenset((b"acTL", b"fcTL", b"fdAT"))
# Colour, time, EXIF, and iTXt, in which XMP stands; other text is a comment.
_KNOWN_CHUNKS: Final = frozenset(
    (
        *(b"cHRM", b"cICP", b"cLLI", b"gAMA", b"iCCP", b"mDCV", b"sBIT", b"sRGB", b"sPLT"),
        *(b"bKGD", b"hIST", b"pHYs", b"tIME", b"tRNS", b"eXIf", b"iTXt"),
    )
)


def walk_png(data: bytes, limits: ImageLimits) -> ImageFacts:
    """Walk every chunk, up to and including IEND."""
    if data[:8] != SIGNATURE:
        raise RefusedError("malformed", "PNG signature")
    return _Walk(data, limits).run()


class _DroppedError(Exception):
    """A repair leaves the chunk out."""


class _Stream:
    """A zlib stream that must inflate to exactly `expected` bytes and end there.

    `on_extra` is called for bytes after the end of the stream: it refuses them or notes a repair.
    """

    __slots__ = ("_expected", "_got", "_on_extra", "_zlib")

    def __init__(self, expected: int, on_extra: Callable[[], None]) -> None:
        self._expected = expected
        self._on_extra = on_extra
        self._got = 0
        self._zlib = zlib.decompressobj()

    def feed(self, piece: bytes | memoryview) -> None:
        if self._expected > _INFLATE_LIMIT or not len(piece):
            return
        if self._zlib.eof:
            self._on_extra()
            return
        source: bytes | memoryview = piece
        try:
            while source and not self._zlib.eof:
                self._got += len(self._zlib.decompress(source, _STEP))
                if self._got > self._expected:
                    raise RefusedError("inflates_too_much", f"pixels inflate past {self._expected} bytes")
                source = self._zlib.unconsumed_tail
        except zlib.error as error:
            raise RefusedError("malformed", "compressed pixels are damaged") from error
        if self._zlib.unused_data:
            self._on_extra()

    @property
    def complete(self) -> bool:
        """All pixels are there."""
        return self._expected > _INFLATE_LIMIT or (self._got == self._expected and self._zlib.eof)

    def finish(self) -> None:
        if not self.complete:
            raise RefusedError("truncated", f"{self._got} of {self._expected} bytes of pixels")


class _Walk:
    __slots__ = (
        "bits",
        "chunks",
        "colour",
        "data",
        "declared",
        "facts",
        "header",
        "idat",
        "interlaced",
        "limits",
        "meta",
        "palette",
        "parts",
        "pixels",
        "sequence",
        "stream",
    )

    def __init__(self, data: bytes, limits: ImageLimits) -> None:
        self.data = data
        self.limits = limits
        self.facts = ImageFacts("png", lossless=True)
        self.header = False
        self.palette = False
        self.idat = 0  # 0 before the pixels, 1 among them, 2 after
        self.stream: _Stream | None = None
        self.bits = 0
        self.colour = 0
        self.interlaced = False
        self.chunks = 0
        self.meta = 0
        self.declared = 0
        self.sequence = 0
        self.pixels = 0
        self.parts: list[tuple[bytes, int, int]] = []  # name, begin and end of each chunk that a repair keeps

    def run(self) -> ImageFacts:
        facts, frames = self.facts, 0
        for name, body, end in self._walk():
            try:
                frames += self._chunk(name, body, end)
            except _DroppedError:
                continue
            if self.limits.repair:
                self.parts.append((name, body, end))
        if not self.idat:
            raise RefusedError("malformed", "no pixels")
        self._close_stream()
        if self.declared:
            if frames != self.declared:
                announced = f"{self.declared} frames announced, {frames} present"
                facts.damaged(self.limits, "structure", "malformed", announced)
            facts.poster = facts.poster and frames > 0
            facts.frames = max(1, frames + facts.poster)
        if facts.repairs:
            facts.rebuilt = self._rebuild(frames)
        return facts

    def _walk(self) -> Iterator[tuple[bytes, int, int]]:
        """Yield name, begin and end of the body of each chunk before IEND; note where the picture ends."""
        data, pos, facts, limits = self.data, 8, self.facts, self.limits
        while pos + 12 <= len(data):
            length = int.from_bytes(data[pos : pos + 4], "big")
            name = data[pos + 4 : pos + 8]
            body, end = pos + 8, pos + 8 + length
            if not (name.isascii() and name.isalpha()) or length > 2**31 - 1:
                raise RefusedError("malformed", "chunk name")
            if end + 4 > len(data):
                raise RefusedError("truncated", "inside a chunk")
            self.chunks += 1
            if self.chunks > limits.max_chunks:
                raise RefusedError("too_many_chunks", f"more than {limits.max_chunks} chunks")
            pos = facts.end = end + 4
            if zlib.crc32(memoryview(data)[body - 4 : end]) != int.from_bytes(data[end:pos], "big"):
                facts.damaged(limits, "bad_crc", "malformed", "chunk checksum")
                if name[0] & 0x20 and name not in _ANIMATION:
                    facts.metadata.append((body, end))
                    continue
            if name == b"IEND":
                if length:
                    raise RefusedError("malformed", "IEND with content")
                return
            yield name, body, end
        if not self.idat or (self.stream is not None and not self.stream.complete):
            raise RefusedError("truncated", "no IEND")
        facts.damaged(limits, "missing_end", "truncated", "no IEND")
        facts.end = len(data)

    def _rebuild(self, frames: int) -> bytes:
        """Write the chunks that are kept, with their true checksums and the true number of frames."""
        out = bytearray(SIGNATURE)
        for name, body, end in [*self.parts, (b"IEND", 0, 0)]:
            content = self.data[body:end]
            if name in _ANIMATION and not (frames and self.declared):
                continue
            if name == b"acTL":
                content = struct.pack(">I", frames) + content[4:]
            checksum = zlib.crc32(name + content)
            out += struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
        return bytes(out)

    def _drop(self, detail: str) -> NoReturn:
        """Refuse a chunk that decoders ignore, or leave it out of the repaired file."""
        self.facts.damaged(self.limits, "foreign_chunk", "malformed", detail)
        raise _DroppedError

    def _extra(self) -> None:
        self.facts.damaged(self.limits, "foreign_bytes", "malformed", "bytes after the compressed pixels")

    def _chunk(self, name: bytes, body: int, end: int) -> int:
        if not self.header and name != b"IHDR":
            raise RefusedError("malformed", "first chunk is not IHDR")
        if name != b"IDAT" and self.idat == 1:
            self._close_stream()
            self.idat = 2
        if name == b"IHDR":
            self._ihdr(body, end)
        elif name == b"IDAT":
            self._idat(body, end)
        elif name == b"PLTE":
            self._plte(body, end)
        elif name == b"acTL":
            self._actl(body, end)
        elif name == b"fcTL":
            return self._fctl(body, end)
        elif name == b"fdAT":
            self._fdat(body, end)
        elif name[0] & 0x20 == 0:
            raise RefusedError("malformed", "unknown critical chunk")
        else:
            self._ancillary(name, body, end)
        return 0

    def _idat(self, body: int, end: int) -> None:
        if self.idat == 2:
            raise RefusedError("malformed", "pixels in two places")
        if self.idat == 0:
            if self.colour == 3 and not self.palette:
                raise RefusedError("malformed", "no palette")
            self.idat = 1
            self.facts.poster = self.declared > 0 and self.sequence == 0
            self.stream = _Stream(self._expected(self.facts.width, self.facts.height), self._extra)
        assert self.stream is not None
        self.stream.feed(memoryview(self.data)[body:end])

    def _plte(self, body: int, end: int) -> None:
        if (
            self.palette
            or self.idat
            or self.colour in (0, 4)
            or not 3 <= end - body <= 768
            or (end - body) % 3
        ):
            self.facts.metadata.append((body, end))
            self._drop("palette")
        self.palette = True
        self.facts.metadata.append((body, end))

    def _ihdr(self, body: int, end: int) -> None:
        data = self.data
        if self.header or end - body != 13:
            raise RefusedError("malformed", "IHDR")
        self.header = True
        width, height = (
            int.from_bytes(data[body : body + 4], "big"),
            int.from_bytes(data[body + 4 : body + 8], "big"),
        )
        depth, colour, compression, filters, interlace = data[body + 8 : body + 13]
        if depth not in _DEPTHS.get(colour, ()) or compression or filters or interlace > 1:
            raise RefusedError("malformed", "IHDR")
        self.limits.size(width, height)
        self.facts.width, self.facts.height = width, height
        self.colour = colour
        self.bits = depth * _CHANNELS[colour]
        self.interlaced = interlace == 1

    def _expected(self, width: int, height: int) -> int:
        if not self.interlaced:
            return height * (1 + (width * self.bits + 7) // 8)
        total = 0
        for x, y, dx, dy in _ADAM7:
            columns, rows = (width - x + dx - 1) // dx, (height - y + dy - 1) // dy
            if columns > 0 and rows > 0:
                total += rows * (1 + (columns * self.bits + 7) // 8)
        return total

    def _close_stream(self) -> None:
        if self.stream is not None:
            self.stream.finish()
            self.stream = None

    def _actl(self, body: int, end: int) -> None:
        if self.declared or end - body != 8:
            self._drop("acTL")
        if self.idat:
            return  # too late to count: decoders show the still picture
        frames = int.from_bytes(self.data[body : body + 4], "big")
        if not frames:
            self._drop("animation of no frame")
        self.limits.animation(frames, 1, 1)
        self.declared = frames

    def _fctl(self, body: int, end: int) -> int:
        data = self.data
        if end - body != 26:
            raise RefusedError("malformed", "fcTL")
        self._number(body)
        width, height, x, y = (
            int.from_bytes(data[body + at : body + at + 4], "big") for at in (4, 8, 12, 16)
        )
        facts = self.facts
        if not width or not height or x + width > facts.width or y + height > facts.height:
            raise RefusedError("malformed", "animation frame outside the picture")
        if data[body + 24] > 2 or data[body + 25] > 1:
            raise RefusedError("malformed", "fcTL")
        self._close_stream()
        if self.idat == 2:
            self.stream = _Stream(self._expected(width, height), self._extra)
        self.pixels += facts.width * facts.height
        if self.pixels > self.limits.max_total_pixels:
            raise RefusedError(
                "too_many_pixels", f"more than {self.limits.max_total_pixels} pixels in all frames"
            )
        return 1

    def _fdat(self, body: int, end: int) -> None:
        if self.idat == 2 and not self.declared:
            self._drop("fdAT")
        if end - body < 4 or self.idat != 2 or self.stream is None:
            raise RefusedError("malformed", "fdAT")
        self._number(body)
        self.stream.feed(memoryview(self.data)[body + 4 : end])

    def _number(self, body: int) -> None:
        if int.from_bytes(self.data[body : body + 4], "big") != self.sequence:
            raise RefusedError("malformed", "animation chunks out of order")
        self.sequence += 1

    def _ancillary(self, name: bytes, body: int, end: int) -> None:
        facts = self.facts
        facts.metadata.append((body, end))
        if name not in _KNOWN_CHUNKS:
            facts.private(self.limits, body, end)
        if len(facts.metadata) > self.limits.max_metadata_chunks:
            raise RefusedError("metadata_too_large", f"more than {self.limits.max_metadata_chunks} chunks")
        self.meta += end - body
        try:
            packed = _packed(self.data, name, body, end)
            if packed is not None:
                limit = _PROFILE_LIMIT if name == b"iCCP" else _TEXT_LIMIT
                text = _inflate(packed, min(limit, self.limits.max_metadata_bytes))
                self.meta += len(text)
                facts.inflated.append(text)
        except RefusedError as why:
            if why.code != "malformed":
                raise
            self._drop(why.detail)
        if self.meta > self.limits.max_metadata_bytes:
            raise RefusedError("metadata_too_large", f"more than {self.limits.max_metadata_bytes} bytes")


def _packed(data: bytes, name: bytes, body: int, end: int) -> bytes | None:
    if name not in (b"zTXt", b"iTXt", b"iCCP"):
        return None
    at = data.find(b"\0", body, end)
    if at < 0 or at + 2 > end:
        raise RefusedError("malformed", "text chunk")
    if name != b"iTXt":
        return data[at + 2 : end]
    if not data[at + 1]:
        return None
    for _ in range(2):  # language tag, translated keyword
        at = data.find(b"\0", at + 3 if _ == 0 else at + 1, end)
        if at < 0:
            raise RefusedError("malformed", "text chunk")
    return data[at + 1 : end]


def _inflate(packed: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(packed, limit + 1)
    except zlib.error as error:
        raise RefusedError("malformed", "compressed text is damaged") from error
    if len(text) > limit:
        raise RefusedError("metadata_too_large", f"text inflates past {limit} bytes")
    if stream.unused_data:
        raise RefusedError("malformed", "bytes after a compressed text")
    return text
