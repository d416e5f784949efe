"""One file of the conformance set, and the helpers that put containers together."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prodkit.errors import MissingExtraError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["UploadSample", "box", "chunk", "drawing", "encoded", "exif", "into_jpeg", "riff", "segment"]


@dataclass(frozen=True, slots=True)
class UploadSample:
    """One file, and the verdict that each policy must give.

    Args:
        name: of the sample, such as ``"iphone-hdr"``.
        origin: the device or program, and the structure it is known for.
        data: the file.
        filename: as the client declares it.
        declared_type: as the client declares it.
        refuse: the code with which ``on_damage="refuse"`` refuses the file; "" when it accepts it.
        rewrite: the same for ``on_damage="rewrite"``.
        repairs: what "rewrite" lists in ``CleanFile.repairs``; () when the file is kept as it is.
        size: width and height after the check, orientation not applied.
        frames: pictures of an animation.
    """

    name: str
    origin: str
    data: bytes = field(repr=False)
    filename: str
    declared_type: str
    refuse: str = ""
    rewrite: str = ""
    repairs: tuple[str, ...] = ()
    size: tuple[int, int] = (96, 64)
    frames: int = 1


def drawing(width: int = 96, height: int = 64, seed: int = 0) -> Image.Image:
    """Draw a small picture with edges and gradients.

    Args:
        width: pixels.
        height: pixels.
        seed: moves the drawing, for the frames of an animation.
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        raise MissingExtraError.named("pillow", "files") from error
    grey = Image.linear_gradient("L").resize((width, height))
    turned = Image.linear_gradient("L").rotate(90).resize((width, height))
    picture = Image.merge("RGB", (grey, turned, grey.transpose(Image.Transpose.ROTATE_180)))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((4 + seed, 4, width // 2 + seed, height // 2), fill=(200, 30, 90))
    pen.line((0, height, width, 0), fill=(10, 200, 40), width=2)
    return picture


def encoded(kind: str, picture: Image.Image | None = None, **options: Any) -> bytes:
    """Encode `picture`, or the default drawing, with Pillow's writer `kind` and its `options`."""
    out = io.BytesIO()
    (picture or drawing()).save(out, kind, **options)
    return out.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    """Return a JPEG segment with `marker` and `body`."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def into_jpeg(data: bytes, *parts: bytes) -> bytes:
    """Insert `parts` into the JPEG `data`, after its JFIF segment."""
    at = 4 + int.from_bytes(data[4:6], "big")
    return data[:at] + b"".join(parts) + data[at:]


def exif(orientation: int = 1, make: str = "Phone", model: str = "One") -> bytes:
    """Return an Exif segment with `orientation`, `make` and `model`."""
    from PIL import Image

    tags = Image.Exif()
    tags[0x0112], tags[0x010F], tags[0x0110] = orientation, make, model
    return segment(0xE1, b"Exif\0\0" + tags.tobytes().removeprefix(b"Exif\0\0"))


def chunk(name: bytes, body: bytes, checksum: int | None = None) -> bytes:
    """Return a PNG chunk with `name` and `body`; `checksum` replaces the true one."""
    true = zlib.crc32(name + body)
    return (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", true if checksum is None else checksum)
    )


def riff(name: bytes, body: bytes) -> bytes:
    """Return a RIFF chunk with `name` and `body`."""
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)


def box(name: bytes, body: bytes) -> bytes:
    """Return a box of an ISO base media file with `name` and `body`."""
    return struct.pack(">I", 8 + len(body)) + name + body
