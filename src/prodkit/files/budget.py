"""One budget for pixels, frames, seconds and memory: the time and the memory of a decode follow from its pixels.

A limit of its own for each would contradict the others: a policy that allows an animation of 200 million pixels, in a
sandbox that kills after 3 s, accepts a file whose re-encoding it then refuses.

Measured on one core of a small server, in million pixels per second: decoding 60 (JPEG) to 35 (GIF), re-encoding 12
(GIF) to 40 (JPEG). The seconds below allow about three times that, because machines differ and are shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DecodeBudget"]

_MIB: Final = 2**20
_LEAST_SECONDS: Final = 3.0
_DECODED_PER_SECOND: Final = 16_000_000
_REWRITTEN_PER_SECOND: Final = 6_000_000
_SLOW: Final = 2  # video codecs take so much longer
_LEAST_MEMORY: Final = 768 * _MIB  # the interpreter, its codecs, and pictures of up to 2048x2048
_BASE_MEMORY: Final = 512 * _MIB
_BYTES_PER_PIXEL: Final = (
    24  # 4 each: decoded, turned, converted to sRGB, as the encoder wants it; 8 in the codecs
)


@dataclass(frozen=True, slots=True)
class DecodeBudget:
    """The cost that one decode may reach.

    Args:
        pixels: of all frames together.
        seconds: of real time in the worker, for decoding.
        rewrite_seconds: the same for decoding and re-encoding.
        memory_bytes: address space of the worker. Only a few frames are in memory at once, so it follows from the size
            of one picture.
    """

    pixels: int
    seconds: float
    rewrite_seconds: float
    memory_bytes: int

    @classmethod
    def of(cls, width: int, height: int, total_pixels: int, kind: str = "") -> DecodeBudget:
        """Derive the budget of pictures of `width` x `height`, of `total_pixels` over all frames, in format `kind`."""
        rate = _REWRITTEN_PER_SECOND / (_SLOW if kind in ("avif", "heic") else 1)
        return cls(
            pixels=total_pixels,
            seconds=max(_LEAST_SECONDS, 1 + total_pixels / _DECODED_PER_SECOND),
            rewrite_seconds=max(_LEAST_SECONDS, 1 + total_pixels / rate),
            memory_bytes=max(_LEAST_MEMORY, _BASE_MEMORY + _BYTES_PER_PIXEL * width * height),
        )
