"""Encode plain pixels as new files: nothing of the upload's container is copied.

Pillow encodes single pictures; animations are assembled here, because its writers merge equal frames and re-emit the
metadata they find in ``info``.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from PIL import Image as PilImage

__all__ = ["animation", "still"]

_MAX_DELAY: Final = 65_535


def still(kind: str, picture: PilImage.Image, *, quality: int, exact: bool = False) -> bytes:
    """Encode one picture; `exact` writes WebP without loss and JPEG with full-resolution colour."""
    out = io.BytesIO()
    if kind == "jpeg":
        if picture.mode not in ("L", "RGB", "CMYK"):
            picture = picture.convert("RGB")
        picture.save(out, "JPEG", quality=quality, subsampling=0 if exact else -1)
    elif kind == "png":
        if picture.mode == "CMYK":
            picture = picture.convert("RGB")
        picture.save(out, "PNG", compress_level=4)
    elif kind == "gif":
        return animation("gif", [(picture, 0)], loop=None, quality=quality)
    elif kind == "webp":
        if picture.mode not in ("RGB", "RGBA"):
            picture = picture.convert("RGBA" if "A" in picture.mode else "RGB")
        if exact:  # where nothing is lost, `quality` is an effort, and more of it takes seconds
            picture.save(out, "WEBP", quality=20, lossless=True, method=0)
        else:
            picture.save(out, "WEBP", quality=quality, method=2)
    else:
        if picture.mode not in ("RGB", "RGBA"):
            picture = picture.convert("RGBA" if "A" in picture.mode else "RGB")
        picture.save(
            out, kind.upper(), quality=quality, speed=9
        )  # AVIF: the default takes seconds a megapixel
    return out.getvalue()


def animation(
    kind: str,
    frames: Iterable[tuple[PilImage.Image, int]],
    *,
    loop: int | None,
    quality: int,
    poster: bool = False,
) -> bytes:
    """Encode all `frames` (picture, milliseconds) as one file; none is merged with its neighbour.

    `poster`: the first frame of a PNG is shown only by software without support for animations.
    """
    if kind == "gif":
        return _gif(frames, loop)
    if kind == "png":
        return _apng(frames, loop, poster)
    if kind == "webp":
        return _webp(frames, loop, quality)
    out = io.BytesIO()
    pictures = [(picture.convert("RGBA"), delay) for picture, delay in frames]
    pictures[0][0].save(
        out,
        kind.upper(),
        save_all=True,
        append_images=[picture for picture, _ in pictures[1:]],
        duration=[delay for _, delay in pictures],
        quality=quality,
    )
    return out.getvalue()


# --- GIF ---


def _gif(frames: Iterable[tuple[PilImage.Image, int]], loop: int | None) -> bytes:
    out, flags, free = bytearray(), 0, 256
    for picture, delay in frames:
        indexed, palette, clear = _shuffled(*_indexed(picture))
        if not out:
            out += b"GIF89a" + struct.pack("<HHBBB", *picture.size, 0x70, 0, 0)
            if loop is not None:
                out += b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", min(loop, _MAX_DELAY)) + b"\0"
        if clear is not None and flags:
            # Every frame is whole: clear the one before where this one lets it show through. To some decoders
            # "clear" means the background colour, unless that frame names a transparent one of its own.
            out[flags] |= 2 << 2
            if free < 256 and not out[flags] & 1:
                out[flags] |= 1
                out[flags + 3] = free
        flags, free = len(out) + 3, _used(indexed)
        out += b"\x21\xf9\x04" + struct.pack(
            "<BHB", clear is not None, min(delay // 10, _MAX_DELAY), clear or 0
        )
        out += b"\0\x2c" + struct.pack("<HHHHB", 0, 0, *picture.size, 0x80 | (_bits(len(palette) // 3) - 1))
        out += palette + _gif_pixels(_encode(indexed, "GIF", optimize=False, interlace=0))
    return bytes(out + b"\x3b")


def _indexed(picture: PilImage.Image) -> tuple[PilImage.Image, int | None]:
    """Return `picture` in at most 256 colours, and the index of the transparent one."""
    from PIL import Image

    if picture.mode in ("L", "1"):
        indexed = picture.convert("L")
        indexed = indexed.convert("RGB").quantize(
            256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
        return indexed, None
    if "A" not in picture.mode:
        return _few_colours(picture.convert("RGB")), None
    rgba = picture.convert("RGBA")
    alpha = rgba.getchannel("A").point([255] * 128 + [0] * 128)
    indexed = rgba.convert("RGB").quantize(255, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    indexed.paste(255, mask=alpha)
    return indexed, 255


def _few_colours(rgb: PilImage.Image) -> PilImage.Image:
    """Reduce to 256 colours, exactly where there are no more.

    Mapping to a given palette is forty times faster than median cut, but looks colours up in cells of 4x4x4: it is
    exact unless two colours of the picture share a cell, so the result is compared.
    """
    from PIL import Image, ImageChops

    colours = rgb.getcolors(256)
    if colours is None:
        return rgb.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    table = [value for _, colour in colours for value in (colour if isinstance(colour, tuple) else (0, 0, 0))]
    palette = Image.new("P", (1, 1))
    palette.putpalette((table + table[:3] * 256)[:768])
    mapped = rgb.quantize(palette=palette, dither=Image.Dither.NONE)
    if ImageChops.difference(mapped.convert("RGB"), rgb).getbbox() is None:
        return mapped
    return rgb.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def _shuffled(indexed: PilImage.Image, clear: int | None) -> tuple[PilImage.Image, bytes, int | None]:
    """Keep only the colours in use, in an order that carries no message: an uploaded palette may hold text."""
    palette = (indexed.getpalette() or []) + [0] * 768
    used = [index for index, count in enumerate(indexed.histogram()[:256]) if count]
    colours = {index: bytes(palette[3 * index : 3 * index + 3]) for index in used}
    order = sorted(used, key=lambda index: hashlib.blake2b(colours[index], digest_size=8).digest())
    places = [0] * 256
    for place, index in enumerate(order):
        places[index] = place
    table = b"".join(b"\0\0\0" if index == clear else colours[index] for index in order)
    size = 3 * 2 ** _bits(len(order))
    moved = indexed.point(places)
    return moved, table.ljust(size, b"\0"), places[clear] if clear in colours else None


def _used(indexed: PilImage.Image) -> int:
    """Count the colours in use; they come first, so the count is the first free index."""
    return len(indexed.getcolors(256) or ())


def _bits(colours: int) -> int:
    return max(1, (colours - 1).bit_length())


def _gif_pixels(encoded: bytes) -> bytes:
    """Return the LZW code size and sub-blocks of the one picture in a GIF that Pillow wrote."""
    pos = 13 + (3 * 2 ** ((encoded[10] & 7) + 1) if encoded[10] & 0x80 else 0)
    while encoded[pos] == 0x21:
        pos += 2
        while encoded[pos]:
            pos += 1 + encoded[pos]
        pos += 1
    pos += 10 + (3 * 2 ** ((encoded[pos + 9] & 7) + 1) if encoded[pos + 9] & 0x80 else 0)
    return encoded[pos:-1]


# --- PNG ---


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    pos = 8
    while pos < len(png):
        length = int.from_bytes(png[pos : pos + 4], "big")
        yield png[pos + 4 : pos + 8], png[pos + 8 : pos + 8 + length]
        pos += 12 + length


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _apng(frames: Iterable[tuple[PilImage.Image, int]], loop: int | None, poster: bool) -> bytes:
    parts, number, count = list[bytes](), 0, 0
    header = b""
    for picture, delay in frames:
        png = _encode(picture.convert("RGBA"), "PNG", compress_level=4)
        control = struct.pack(
            ">IIIIIHHBB", number, *picture.size, 0, 0, min(delay, _MAX_DELAY), 1000, 0, 0
        )  # the whole canvas, replaced
        if count or not poster:
            parts.append(_chunk(b"fcTL", control))
            number += 1
        for name, body in _chunks(png):
            if name == b"IHDR":
                header = header or body
            elif name == b"IDAT" and not count:
                parts.append(_chunk(name, body))
            elif name == b"IDAT":
                parts.append(_chunk(b"fdAT", struct.pack(">I", number) + body))
                number += 1
        count += 1
    start = _chunk(b"IHDR", header) + _chunk(b"acTL", struct.pack(">II", count - poster, loop or 0))
    return b"\x89PNG\r\n\x1a\n" + start + b"".join(parts) + _chunk(b"IEND", b"")


# --- WebP ---


def _webp(frames: Iterable[tuple[PilImage.Image, int]], loop: int | None, quality: int) -> bytes:
    parts, size = list[bytes](), (1, 1)
    for picture, delay in frames:
        size = picture.size
        webp = _encode(picture, "WEBP", quality=quality, method=2)
        pos, body = 12, b""
        while pos < len(webp):
            length = int.from_bytes(webp[pos + 4 : pos + 8], "little")
            if webp[pos : pos + 4] in (b"ALPH", b"VP8 ", b"VP8L"):
                body += webp[pos : pos + 8 + length + (length & 1)]
            pos += 8 + length + (length & 1)
        # Offsets 0, the size less one, the delay, and the flags: do not blend, do not dispose.
        head = b"\0" * 6 + _three(size[0] - 1) + _three(size[1] - 1) + _three(min(delay, 2**24 - 1)) + b"\x02"
        parts.append(_riff(b"ANMF", head + body))
    extended = _riff(b"VP8X", b"\x12\0\0\0" + _three(size[0] - 1) + _three(size[1] - 1))
    control = _riff(b"ANIM", b"\0\0\0\0" + struct.pack("<H", min(loop or 0, _MAX_DELAY)))
    return _riff(b"RIFF", b"WEBP" + extended + control + b"".join(parts))


def _three(number: int) -> bytes:
    return number.to_bytes(3, "little")


def _riff(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)


def _encode(picture: PilImage.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()
