"""The process inside the sandbox: warms its codecs, limits itself, then decodes until its pipe closes.

It runs with an empty environment and two pipes. Everything it will need is loaded before the limits close, because
afterwards no file can be opened, written or executed.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
from typing import Any

from prodkit.errors import MissingExtraError
from prodkit.files.decoding import decode, documents, encode, pipe

__all__ = ["main"]


def main(memory_bytes: str, role: str) -> None:
    """Serve requests until the other end closes.

    Args:
        memory_bytes: the address space that is left to this process.
        role: "pictures" or "documents"; it decides which libraries are loaded.
    """
    channel = pipe.Channel(0, 1)
    try:
        if role == "documents":
            _warm_documents()
        else:
            _warm()
    except MissingExtraError as error:
        channel.send({"ready": False, "missing": [str(error), error.extra, error.package]})
        return
    _limit(int(memory_bytes))
    channel.send({"ready": True})
    while True:
        try:
            request, data = channel.receive()
        except pipe.ChannelError:
            return
        _more_cpu(float(request["seconds"]))
        try:
            reply, body = _answer(request, data)
        except MemoryError:
            reply, body = {"error": "memory"}, b""
        del data
        channel.send(reply, body)


def _answer(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        if request["kind"] == "pdf":
            return {"width": 0, "height": 0, "frames": 0}, documents.rewrite_pdf(data)
        found, body = decode.decode(
            request["kind"],
            data,
            frames=request["frames"],
            poster=request["poster"],
            sanitise=request["sanitise"],
            quality=request["quality"],
        )
    except decode.Undecodable as error:
        return {"error": str(error)}, b""
    return dict(found), body


def _warm() -> None:
    """Use each codec once: whatever it loads lazily has to be loaded before no file can be opened any more."""
    codecs = decode.load_codecs()  # first: it refuses a Pillow that is missing or too old
    from PIL import Image, ImageCms, ImageFile, PngImagePlugin

    Image.MAX_IMAGE_PIXELS = None  # the walk has counted the pixels already
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    PngImagePlugin.MAX_TEXT_MEMORY = 64 * 2**20
    ImageCms.createProfile("sRGB")
    tiny = Image.linear_gradient("L").resize((9, 9)).convert("RGBA")
    tags = Image.Exif()
    tags[0x0112], tags[0x011A] = 6, 72.0
    with io.BytesIO() as turned:
        tiny.convert("RGB").save(turned, "JPEG", exif=tags)
        decode.decode("jpeg", turned.getvalue(), frames=1, sanitise=True, quality=80)
    for kind in codecs:
        if kind == "heic":
            _warm_heic(tiny)
            continue
        pictures = [(tiny, 10), (tiny.rotate(90), 20)]
        single = encode.still(kind, tiny.convert("RGB"), quality=80)
        decode.decode(kind, single, frames=1, sanitise=True, quality=80)
        if kind in ("png", "gif", "webp"):
            moving = encode.animation(kind, pictures, loop=0, quality=80)
            decode.decode(kind, moving, frames=2, sanitise=True, quality=80)


def _warm_documents() -> None:
    pikepdf = documents.load_library()
    with io.BytesIO() as out, pikepdf.new() as document:
        document.add_blank_page()
        document.save(out)
        documents.rewrite_pdf(out.getvalue()[:-8])


def _warm_heic(picture: Any) -> None:
    """Decode a HEIC once, where an encoder is there to make one. It is re-encoded as JPEG, so only reading counts."""
    import pillow_heif  # type: ignore[import-not-found,unused-ignore]

    with contextlib.suppress(Exception), io.BytesIO() as out:
        pillow_heif.from_pillow(picture.convert("RGB").resize((64, 64))).save(out)
        decode.decode("heic", out.getvalue(), frames=1, sanitise=True, quality=80)


def _limit(memory_bytes: int) -> None:
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 3),
        (resource.RLIMIT_AS, memory_bytes),
    ):
        resource.setrlimit(kind, (value, value))
    if hasattr(resource, "RLIMIT_NPROC") and os.getuid() != 0:
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _more_cpu(seconds: float) -> None:
    """Grant CPU time for one more picture: should the parent die, this process does not decode for ever."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = usage.ru_utime + usage.ru_stime
    resource.setrlimit(resource.RLIMIT_CPU, (int(used + seconds) + 2, resource.RLIM_INFINITY))
