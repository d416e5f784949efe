"""Decode one picture and re-encode it. Runs inside the sandbox; its results are not trusted afterwards.

Exactly one format is decoded: the class of that format is called, never ``Image.open``, so that no other decoder can
be reached, whatever the bytes contain.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any, Final

from prodkit.errors import MissingExtraError
from prodkit.files.decoding import encode
from prodkit.files.decoding.codecs import OLDEST_PILLOW, too_old

if TYPE_CHECKING:
    from PIL import Image as PilImage, ImageFile

__all__ = ["Undecodable", "decode", "load_codecs"]

_PADDING_GREY: Final = 128
_BITSTREAM: Final = re.compile(rb"VP8[ L]")


class Undecodable(Exception):  # noqa: N818 - an answer, not a fault
    """The decoder refused the picture."""


def load_codecs() -> dict[str, Any]:
    """Return the decoder classes of this machine by kind."""
    try:
        import PIL
    except ImportError as error:
        raise MissingExtraError.named("pillow", "files") from error
    if int(PIL.__version__.partition(".")[0]) < OLDEST_PILLOW:
        raise too_old(PIL.__version__)
    from PIL import GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin, features

    codecs: dict[str, Any] = {
        "jpeg": JpegImagePlugin.JpegImageFile,
        "png": PngImagePlugin.PngImageFile,
        "gif": GifImagePlugin.GifImageFile,
    }
    if features.check("webp"):
        codecs["webp"] = WebPImagePlugin.WebPImageFile
    if features.check("avif"):
        from PIL import AvifImagePlugin

        codecs["avif"] = AvifImagePlugin.AvifImageFile
    try:
        import pillow_heif  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        pass
    else:
        pillow_heif.options.THUMBNAILS = False
        pillow_heif.options.DECODE_THREADS = 1  # the sandbox allows no further threads
        codecs["heic"] = pillow_heif.HeifImageFile
    return codecs


def decode(
    kind: str, data: bytes, *, frames: int, sanitise: bool, quality: int, poster: bool = False
) -> tuple[dict[str, Any], bytes]:
    """Decode every frame of `data`; return width, height and frames, and with `sanitise` the new bytes."""
    codec = load_codecs().get(kind)
    if codec is None:
        raise Undecodable(f"no decoder for {kind}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of a decoder do not decide a verdict
        try:
            return _decode(codec, kind, data, frames, sanitise, quality, poster)
        except (MemoryError, Undecodable):
            raise
        except Exception as error:
            raise Undecodable(f"{type(error).__name__}: {error}"[:200]) from error


def _decode(
    codec: Any, kind: str, data: bytes, frames: int, sanitise: bool, quality: int, poster: bool
) -> tuple[dict[str, Any], bytes]:
    picture: ImageFile.ImageFile = codec(io.BytesIO(data))
    with picture:
        found: dict[str, Any] = {"width": picture.width, "height": picture.height, "frames": frames}
        if frames <= 1:
            picture.load()
            if kind == "jpeg" and _may_be_cut(picture) and _is_cut(codec, picture, data):
                raise Undecodable("the picture ends before its last scan does")
            if not sanitise:
                return found, b""
            still = _upright(picture)
            found["turned"] = still is not picture
            found["width"], found["height"] = still.size
            if kind == "heic":  # few programs show it: re-encoded as what all of them show
                kind = found["kind"] = "png" if "A" in still.mode else "jpeg"
            return found, _write(kind, still, picture, quality, _as_exact(kind, picture, data))
        shown = getattr(picture, "n_frames", 1)
        if shown != frames:
            raise Undecodable(f"{shown} frames instead of {frames}")
        if not sanitise:
            for index in range(frames):
                picture.seek(index)
                picture.load()
            return found, b""
        pictures = _frames(picture, frames)
        return found, encode.animation(kind, pictures, loop=_loop(picture), quality=quality, poster=poster)


def _frames(picture: ImageFile.ImageFile, frames: int) -> Any:
    for index in range(frames):
        picture.seek(index)
        picture.load()
        yield _plain(picture), int(picture.info.get("duration", 0) or 0)


def _loop(picture: ImageFile.ImageFile) -> int | None:
    loop = picture.info.get("loop")
    return int(loop) if isinstance(loop, int) else None


def _upright(picture: PilImage.Image) -> PilImage.Image:
    """Apply the EXIF orientation, before the EXIF block is dropped."""
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    try:
        turn = turns.get(picture.getexif().get(0x0112, 1))
    except Exception:  # noqa: BLE001 - damaged EXIF is common; it is dropped anyway
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _plain(picture: PilImage.Image) -> PilImage.Image:
    """Return a copy with nothing attached: palettes and a transparent colour become channels."""
    transparent = "transparency" in picture.info
    mode = picture.mode
    if mode == "P":
        opaque = not transparent and picture.palette is not None and picture.palette.mode == "RGB"
        mode = "RGB" if opaque else "RGBA"
    elif mode == "PA":
        mode = "RGBA"
    elif transparent and mode in ("L", "1"):
        mode = "LA"
    elif transparent and mode == "RGB":
        mode = "RGBA"
    copy = picture.copy() if mode == picture.mode else picture.convert(mode)
    copy.info = {}
    return copy


def _as_exact(kind: str, picture: ImageFile.ImageFile, data: bytes) -> bool:
    """Return True when the upload is lossless (WebP) or has full-resolution colour (JPEG): its copy then is, too."""
    if kind == "webp":
        found = _BITSTREAM.search(data, 12)
        return found is not None and found.group() == b"VP8L"
    layers = getattr(picture, "layer", ())
    return len(layers) >= 3 and all(layer[1:3] == (1, 1) for layer in layers)


def _write(
    kind: str, still: PilImage.Image, original: ImageFile.ImageFile, quality: int, exact: bool
) -> bytes:
    profile = original.info.get("icc_profile")
    picture = _plain(still)
    if profile:
        picture = _in_srgb(picture, profile)
    return encode.still(kind, picture, quality=quality, exact=exact)


def _in_srgb(picture: PilImage.Image, profile: bytes) -> PilImage.Image:
    """Convert the colours to sRGB, because the profile that defined them is dropped."""
    from PIL import ImageCms

    if picture.mode not in ("RGB", "RGBA", "CMYK"):
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        alpha = picture.getchannel("A") if picture.mode == "RGBA" else None
        colours = picture.convert("RGB") if alpha else picture
        changed = ImageCms.profileToProfile(colours, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except Exception:  # noqa: BLE001 - an unusable profile is dropped like a missing one
        return picture
    if changed is None:
        return picture
    if alpha:
        changed.putalpha(alpha)
    changed.info = {}
    return changed


def _may_be_cut(picture: ImageFile.ImageFile) -> bool:
    """Return True when the data of a JPEG may have ended too soon, with an end of image put after it.

    libjpeg only warns, and paints grey where a sequential picture lacks data; a progressive one only lacks detail.
    """
    if picture.info.get("progressive"):
        return True
    last = picture.getpixel((picture.width - 1, picture.height - 1))
    values = last if isinstance(last, tuple) else (last,)
    return all(isinstance(value, (int, float)) and abs(value - _PADDING_GREY) <= 1 for value in values[:3])


def _is_cut(codec: Any, picture: ImageFile.ImageFile, data: bytes) -> bool:
    """Decode again with other bytes in place of missing ones: a complete picture does not change."""
    with codec(io.BytesIO(data[:-2] + b"\x2a\x55\x93\x6c" * 4096 + b"\xff\xd9")) as other:
        other.load()
        return bool(other.tobytes() != picture.tobytes())
