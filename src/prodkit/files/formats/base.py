"""Shared by all walkers: the limits they enforce, the facts they return, the error they raise."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

__all__ = ["ImageFacts", "ImageLimits", "RefusedError", "foreign_comment", "without"]

_PRIVATE: Final = 256  # bytes: longer than what encoders say of themselves, shorter than a useful file
_CONTROLS: Final = re.compile(
    rb"[\x01-\x08\x0b\x0e-\x19\x1c-\x1f\x7f]"
)  # the end mark of DOS and ESC are text
_UTF_16: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_DOCUMENT: Final = re.compile(
    rb"\s*<(?:\?xml\s|([a-z][\w.:-]{0,40})[\s>].*</\1\s*>\s*\Z)", re.DOTALL | re.IGNORECASE
)
_XMP: Final = (b"x:xmpmeta", b"rdf:rdf")


class RefusedError(Exception):
    """The walk ends here: the file is refused.

    Args:
        code: the stable code of the problem, a key of ``messages.TEXTS``.
        detail: numbers and names of the format, for events; never file content.
        **facts: values that the text for people needs.
    """

    def __init__(self, code: str, detail: str = "", **facts: object) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.facts = facts


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """Upper bounds on the work that a picture may cost its decoder.

    With `repair`, damage that re-encoding removes is noted in :attr:`ImageFacts.repairs` instead of refused.
    """

    max_width: int = 2048
    max_height: int = 2048
    max_frames: int = 500
    max_total_pixels: int = 64_000_000
    max_scans: int = 64
    max_metadata_bytes: int = 4 * 2**20
    max_chunks: int = 20_000
    max_metadata_chunks: int = 1_000
    repair: bool = False

    def size(self, width: int, height: int) -> None:
        """Refuse a canvas that is empty or larger than the policy allows."""
        if width < 1 or height < 1:
            raise RefusedError("malformed", f"{width}x{height} pixels")
        if width > self.max_width or height > self.max_height:
            raise RefusedError(
                "dimensions_too_large",
                f"{width}x{height}, limit {self.max_width}x{self.max_height}",
                width=self.max_width,
                height=self.max_height,
            )

    def animation(self, frames: int, width: int, height: int) -> None:
        """Refuse more frames, or more pixels over all frames, than the policy allows."""
        if frames > self.max_frames:
            raise RefusedError("too_many_frames", f"{frames} frames, limit {self.max_frames}")
        if frames * width * height > self.max_total_pixels:
            raise RefusedError(
                "too_many_pixels",
                f"{frames} frames of {width}x{height}, limit {self.max_total_pixels} pixels",
            )


@dataclass(slots=True)
class ImageFacts:
    """The result of a walk.

    Attributes:
        kind: the format.
        width: of the canvas, in pixels.
        height: of the canvas, in pixels.
        frames: the pictures that a decoder shows. The further pictures of a phone's multi-picture file do not count.
        end: the offset at which the picture's own bytes end; the trailer check looks at the rest.
        poster: the first frame is the still picture of an APNG, which is not part of its animation.
        lossless: the pixels are stored without loss.
        metadata: stretches that no decoder turns into pixels, as (start, end) offsets.
        inflated: the unpacked content of compressed stretches.
        repairs: codes of the damage that was found, see ``messages.REPAIRS``. Such a file must be re-encoded.
        rebuilt: the container without its damage, for the decoder; None when the upload itself can be decoded.
        ampf: the mark of Apple's multi-picture files stands in the JFIF header.
        foreign: a comment that holds a file instead of a text, in a few words; "" for none.
    """

    kind: str
    width: int = 0
    height: int = 0
    frames: int = 1
    end: int = 0
    poster: bool = False
    lossless: bool = False
    metadata: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    inflated: list[bytes] = field(default_factory=list[bytes])
    repairs: list[str] = field(default_factory=list[str])
    rebuilt: bytes | None = None
    ampf: bool = False
    foreign: str = ""

    def comment(self, limits: ImageLimits, content: bytes) -> None:
        """Note a comment: a long one as :meth:`private` does, and one that is not what people or encoders write.

        Args:
            limits: of the walk; ``limits.repair`` decides.
            content: the text of the comment.
        """
        self.private(limits, 0, len(content))
        foreign = foreign_comment(content)
        if not foreign:
            return
        if not limits.repair:
            self.foreign = self.foreign or foreign
        elif "comment" not in self.repairs:
            self.repairs.append("comment")

    def private(self, limits: ImageLimits, start: int, end: int) -> None:
        """Note a large comment or a segment of an unknown maker: a repair leaves it out, whatever it holds.

        Args:
            limits: of the walk; ``limits.repair`` decides.
            start: offset of its content.
            end: offset after it.
        """
        if limits.repair and end - start >= _PRIVATE and "comment" not in self.repairs:
            self.repairs.append("comment")

    def damaged(self, limits: ImageLimits, repair: str, code: str, detail: str) -> None:
        """Note damage that re-encoding removes, or refuse it when the policy does not repair.

        Args:
            limits: of the walk; ``limits.repair`` decides.
            repair: the code of the repair.
            code: the code of the refusal.
            detail: of the refusal.
        """
        if not limits.repair:
            raise RefusedError(code, detail)
        if repair not in self.repairs:
            self.repairs.append(repair)


def without(data: bytes, start: int, end: int, gaps: list[tuple[int, int]]) -> bytes:
    """Return ``data[start:end]`` without the stretches in `gaps`, which are in order and do not overlap."""
    parts, pos = list[bytes](), start
    for begin, stop in gaps:
        parts.append(data[pos:begin])
        pos = stop
    return b"".join([*parts, data[pos:end]])


def foreign_comment(content: bytes) -> str:
    """Return a few words for a comment that is a file of its own, or "" for a text.

    Many formats have no signature that could be looked for (a protobuf message, a cartridge, a font), but a comment is
    text: none of 537 in 12,704 pictures of public collections has a control character or is a document of markup. Zeros
    pad comments, and XMP is markup that belongs there.

    Args:
        content: of the comment, without the lengths of its blocks.
    """
    codec = _UTF_16.get(content[:2])
    text = content.decode(codec, "replace").encode() if codec else content
    if _CONTROLS.search(text):
        return "a comment that is not text"
    found = _DOCUMENT.match(text.rstrip(b"\0"))
    if found and (found.group(1) or b"").lower() not in _XMP:
        return "a document in a comment"
    return ""
