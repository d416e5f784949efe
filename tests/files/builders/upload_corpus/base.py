"""The samples' own type, drawn pictures, and the payloads that attackers hide."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw

MARKER = b"Zq7MARKERx9Payload"
TYPES = {"jpg": "image/jpeg", "png": "image/png", "gif": "image/gif", "webp": "image/webp"}


@dataclass(frozen=True)
class Sample:
    name: str
    data: bytes
    filename: str
    declared: str | None = None
    frames: int | None = None

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self.data)} bytes>"


def sample(name: str, data: bytes, extension: str, **more: Any) -> Sample:
    return Sample(
        name,
        data,
        more.pop("filename", f"photo.{extension}"),
        more.pop("declared", TYPES.get(extension)),
        **more,
    )


@functools.cache
def drawing(width: int = 96, height: int = 64, mode: str = "RGB", seed: int = 0) -> Image.Image:
    drawn = (min(width, 256), min(height, 256))
    picture = (
        Image.effect_mandelbrot(drawn, (-2.2 + seed / 50, -1.2, 0.8, 1.2), 60)
        .convert("RGB")
        .resize((width, height))
    )
    tint = Image.linear_gradient("L").resize((width, height)).rotate(90 * (seed % 4), expand=False)
    picture = Image.merge("RGB", (picture.getchannel(0), tint, tint.transpose(Image.Transpose.ROTATE_180)))
    pen = ImageDraw.Draw(picture)
    if width > 16 and height > 16:
        pen.ellipse((4 + seed, 4, width // 2 + seed, height // 2), fill=(200, 30, 90))
    pen.line((0, height, width, 0), fill=(10, 200, 40), width=2)
    if mode == "RGBA":
        picture.putalpha(tint)
        return picture
    if mode == "LA":
        return picture.convert("RGBA").convert("LA")
    if mode == "I;16":
        return picture.convert("I").point(lambda value: value * 200).convert("I;16")
    return picture.convert(mode)


def encoded(kind: str, picture: Image.Image | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    (picture or drawing()).save(out, kind, **options)
    return out.getvalue()


def animated(kind: str, count: int = 4, *, mode: str = "RGB", **options: Any) -> bytes:
    frames = [drawing(mode=mode, seed=seed) for seed in range(count)]
    return encoded(
        kind,
        frames[0],
        save_all=True,
        append_images=frames[1:],
        duration=[80 + 10 * n for n in range(count)],
        loop=0,
        **options,
    )


@functools.cache
def bases() -> dict[str, tuple[str, bytes]]:
    """One honest file of each shape: its extension and its bytes."""
    return {
        "jpeg": ("jpg", encoded("JPEG", quality=85)),
        "progressive": ("jpg", encoded("JPEG", quality=85, progressive=True)),
        "grey-jpeg": ("jpg", encoded("JPEG", drawing(mode="L"))),
        "png": ("png", encoded("PNG")),
        "palette-png": ("png", encoded("PNG", drawing(mode="P"))),
        "alpha-png": ("png", encoded("PNG", drawing(mode="RGBA"))),
        "apng": ("png", animated("PNG")),
        "gif": ("gif", encoded("GIF", drawing(mode="P"))),
        "moving-gif": ("gif", animated("GIF")),
        "webp": ("webp", encoded("WEBP", quality=80)),
        "lossless-webp": ("webp", encoded("WEBP", lossless=True)),
        "alpha-webp": ("webp", encoded("WEBP", drawing(mode="RGBA"), quality=80)),
        "moving-webp": ("webp", animated("WEBP", quality=70)),
    }


def archive(text: bytes = MARKER) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("evil.txt", text)
    return out.getvalue()


def program() -> bytes:
    head = bytearray(b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0" + b"\0" * 240)
    head[0x3C:0x40] = struct.pack("<I", 0x80)
    head[0x4E:0x75] = b"This program cannot be run in DOS mode."
    head[0x80:0x86] = b"PE\0\0\x64\x86"
    return bytes(head) + MARKER


@functools.cache
def payloads() -> dict[str, bytes]:
    return {
        "php": b"<?php system($_GET['c']); /* " + MARKER + b" */ ?>",
        "short-php": b"<?= `$_GET[0]` ?>" + MARKER,
        "html": b"<html><body><h1>" + MARKER + b"</h1></body></html>",
        "script": b"<script>alert('" + MARKER + b"')</script>",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'>" + MARKER + b"</svg>",
        "jsp": b"<%@ page import='java.io.*' %><% Runtime.getRuntime().exec(request.getParameter(\"c\")); %>"
        + MARKER,
        "asp": b'<%eval request("c")%>' + MARKER,
        "zip": archive(),
        "exe": program(),
        "elf": b"\x7fELF\x02\x01\x01" + b"\0" * 57 + MARKER,
        "pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n" + MARKER + b"\ntrailer<</Root 1 0 R>>\n%%EOF\n",
        "rar": b"Rar!\x1a\x07\x01\0" + MARKER * 3,
        "7z": b"7z\xbc\xaf\x27\x1c\0\x04" + MARKER * 3,
        "shell": b"#!/bin/sh\nrm -rf / # " + MARKER,
        "class": b"\xca\xfe\xba\xbe\0\0\0\x34" + MARKER,
    }
