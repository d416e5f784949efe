"""What all walkers share: limits, the facts they return, and the way they refuse."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ImageFacts", "ImageLimits", "RefusedError"]


class RefusedError(Exception):
    """The walk ends here.

    `code` is stable, `detail` holds numbers and names of the format, `facts` what the text for people needs;
    none of them holds file content.
    """

    def __init__(self, code: str, detail: str = "", **facts: object) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.facts = facts


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """What an image may ask of whoever decodes it."""

    max_width: int = 2048
    max_height: int = 2048
    max_frames: int = 500
    max_total_pixels: int = 64_000_000
    max_scans: int = 64
    max_metadata_bytes: int = 4 * 2**20
    max_chunks: int = 20_000
    max_metadata_chunks: int = 1_000

    def size(self, width: int, height: int) -> None:
        """Refuses a canvas that is empty or larger than the policy."""
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
        """Refuses more frames, or more pixels in all of them together, than the policy pays for."""
        if frames > self.max_frames:
            raise RefusedError("too_many_frames", f"{frames} frames, limit {self.max_frames}")
        if frames * width * height > self.max_total_pixels:
            raise RefusedError(
                "too_many_pixels",
                f"{frames} frames of {width}x{height}, limit {self.max_total_pixels} pixels",
            )


@dataclass(slots=True)
class ImageFacts:
    """What a walk found out.

    `end` is where the picture's own bytes end; what follows is for the trailer check. `metadata` are the
    stretches that no decoder turns into pixels, as (start, end) of the file; `inflated` the ones that were
    compressed. `frames` counts what a decoder shows: `poster` says that the first of them is the still
    picture of an APNG, which is not part of its animation. Additional pictures of a phone's multi-picture
    file are no frames.
    """

    kind: str
    width: int = 0
    height: int = 0
    frames: int = 1
    end: int = 0
    poster: bool = False
    lossless: bool = False
    trailer: str = ""
    metadata: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    inflated: list[bytes] = field(default_factory=list[bytes])
