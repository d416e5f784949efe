"""Programs and pages hidden inside a picture: found by their own signatures, wherever no pixel can be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from prodkit.files.walk.base import RefusedError

__all__ = ["find_active", "find_archive", "refuse_active"]

# Long enough that compressed pixels never spell them: looked for in the whole file, in any case.
_ANYWHERE: Final = (
    b"<?php",
    b"<script",
    b"<html",
    b"<!doctype html",
    b"<!doctype svg",
    b"<iframe",
    b"<!entity",
    b"__halt_compiler",
    b"javascript:",
    b"vbscript:",
    b"%pdf-1",
    b"this program cannot be run",
    b"#!/bin/",
    b"#!/usr/",
    b"base64_decode(",
    b"shell_exec(",
    b"document.cookie",
    b"document.write",
    b"onerror=",
    b"onload=",
    b"${jndi:",
    b"x5o!p%@ap[4\\pzx54",
)
# Short ones, looked for in metadata only: pixels are large enough to spell four bytes by chance.
_IN_METADATA: Final = re.compile(
    rb"PK\x03\x04|PK\x05\x06|\x7fELF|MZ[\x90\x80\x50\x78\x00][\x00\x01\x02]|Rar!\x1a\x07|7z\xbc\xaf\x27\x1c|%PDF-"
    rb"|\xca\xfe\xba\xbe\x00|\xd0\xcf\x11\xe0\xa1\xb1|\xcf\xfa\xed\xfe|\x00asm\x01|\x1f\x8b\x08[\x00\x08]|%!PS-Adobe"
    rb"|<svg[\s>]|<body[\s>]|<img\s|<object[\s>]|<embed\s|<form[\s>]|<meta\s+http|<a\s+href\s*=\s*[\"']?(?:data|java)"
    rb"|<\?=\s*[$`'\"a-z_(]|<\?\s+(?:echo|eval|system|include|require|print|passthru|exec|\$)|<%[@=!]?\s*[a-z_]{3,}[\s(.=]"
    rb"|<jsp:|<cf(?:set|execute)|\b(?:eval|alert|system|passthru|proc_open|popen|assert|create_function)\s*\("
    rb"|\$_(?:GET|POST|REQUEST|COOKIE|SERVER|FILES)\b|powershell(?:\.exe)?\s+-|\bcmd(?:\.exe)?\s+/c",
    re.IGNORECASE,
)
_WINDOW: Final = 2**18  # one search holds the interpreter: keep each of them short
_OVERLAP: Final = 64


def refuse_active(data: bytes, metadata: Iterable[tuple[int, int]], inflated: Iterable[bytes]) -> None:
    """Refuses a file that carries a script, a page, a program or an archive beside its pixels."""
    found = find_active(data)
    if found:
        raise RefusedError("active_content", found)
    if find_archive(data):
        raise RefusedError("embedded_file", "ZIP archive")
    for start, end in metadata:
        found = _in_metadata(data, start, end)
        if found:
            raise RefusedError("active_content", found)
    for text in inflated:
        found = find_active(text) or _in_metadata(text, 0, len(text))
        if found:
            raise RefusedError("active_content", found)


def find_active(data: bytes) -> str:
    """The first signature that stands anywhere in `data`, or ""."""
    for at in range(0, len(data), _WINDOW):
        window = data[at : at + _WINDOW + _OVERLAP].lower()
        for signature in _ANYWHERE:
            if signature in window:
                return signature.decode("ascii")
    return ""


def _in_metadata(data: bytes, start: int, end: int) -> str:
    for at in range(start, end, _WINDOW):
        found = _IN_METADATA.search(data, at, min(end, at + _WINDOW + _OVERLAP))
        if found:
            return ascii(found.group()[:12])[2:-1]
    return ""


def find_archive(data: bytes) -> bool:
    """Whether `data` is a ZIP archive as well: readers of ZIP look for its directory from the end."""
    at = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    if at < 0 or at + 22 > len(data):
        return False
    size, offset = (int.from_bytes(data[at + k : at + k + 4], "little") for k in (12, 16))
    return data[at - size : at - size + 4] == b"PK\x01\x02" or data[offset : offset + 4] == b"PK\x01\x02"
