"""Find programs and pages hidden inside a picture, by their signatures, wherever no pixel can be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from prodkit.files.formats.base import RefusedError
from prodkit.files.formats.signatures import at_fixed_offset, in_metadata, in_tail

__all__ = ["find_active", "find_archive", "find_signature", "refuse_active"]

# Long enough that compressed pixels never spell it: looked for in the whole file, in any case. A pattern that begins
# with one literal byte is what makes it fast, and a look at the next one, before any alternative is tried.
_ANYWHERE: Final = re.compile(
    rb"<(?=[?%sShHiI!])(?:\?[pP][hH][pP]|\?=\s?(?:\$_|`\$|[a-z_]{4,20}\()|%@?\s?(?:eval|page|import|execute)\b"
    rb"|[sS][cC][rR][iI][pP][tT]|[hH][tT][mM][lL]|[iI][fF][rR][aA][mM][eE]"
    rb"|[sS][vV][gG][\s/](?:xmlns|onload)|[iI][mM][gG][\s/](?:src|on)"
    rb"|![eE][nN][tT][iI][tT][yY]|![dD][oO][cC][tT][yY][pP][eE]\s{1,9}(?:[hH][tT][mM][lL]|[sS][vV][gG]))"
)
_TAIL: Final = 2**18
# Looked for in metadata only. A literal is found many times faster than a pattern, so each pattern is tried only where
# its literal stands.
_MARKUP: Final = tuple(
    (literal, re.compile(pattern))
    for literal, pattern in (
        (b"javascript:", rb"javascript:"),
        (b"vbscript:", rb"vbscript:"),
        (b"base64_decode(", rb"base64_decode\("),
        (b"shell_exec(", rb"shell_exec\("),
        (b"document.", rb"document\.(?:cookie|write|location)"),
        (b"onerror=", rb"onerror="),
        (b"onload=", rb"onload="),
        (b"${jndi:", rb"\$\{jndi:"),
        (b"x5o!p%@ap", rb"x5o!p%@ap"),
        (b"<svg", rb"<svg[\s>]"),
        (b"<body", rb"<body[\s>]"),
        (b"<img", rb"<img\s"),
        (b"<object", rb"<object[\s>]"),
        (b"<embed", rb"<embed\s"),
        (b"<form", rb"<form[\s>]"),
        (b"<meta", rb"<meta\s+http"),
        (b"<?=", rb"<\?=\s*(?:[$`'\"(]|[a-z_]{3,32}\s*[(;])"),
        (b"<?", rb"<\?\s+(?:echo|eval|system|include|require|print|passthru|exec|\$)"),
        (b"<%", rb"<%[@=!]?\s{0,16}[a-z_]{3,32}[\s(.=]"),
        (b"<jsp:", rb"<jsp:"),
        (b"<cf", rb"<cf(?:set|execute)"),
        (b"eval(", rb"eval\("),
        (b"alert(", rb"alert\("),
        (b"system(", rb"system\([\"'$@_\\]"),
        (b"passthru(", rb"passthru\("),
        (b"popen(", rb"popen\([\"'$@_\\]"),
        (b"assert(", rb"assert\([\"'$@_\\]"),
        (b"$_", rb"\$_(?:get|post|request|cookie|server|files)\b"),
        (b"powershell", rb"powershell(?:\.exe)?\s+-"),
        (b"cmd", rb"\bcmd(?:\.exe)?\s+/c"),
        (b"<%=", rb"<%=[\s\w+*`'\"().]{1,80}%>"),
        (b"<!--#", rb"<!--#(?:exec|include|echo|config)\s"),
        (b"<!doctype", rb"<!doctype\s+\w+\s+(?:system\b|\[)"),
        (b"<xsl:", rb"<xsl:(?:stylesheet|transform)"),
        (b"<?xml-stylesheet", rb"<\?xml-stylesheet"),
        (b"<xi:include", rb"<xi:include"),
        (b"<hta:", rb"<hta:application"),
        (b"<applet", rb"<applet\s"),
        (b"<base", rb"<base\s+href"),
        (b"<link", rb"<link\s+(?:rel|href)"),
        (b"<frame", rb"<frame(?:set)?[\s>]"),
        (b"<style", rb"<style[\s>]"),
        (b"@echo off", rb"@echo off\s"),
        (b"createobject(", rb"createobject\(\s*[\"']"),
        (b"downloadstring(", rb"\.downloadstring\("),
        (b"os.execute(", rb"os\.execute\("),
        (b"__import__(", rb"__import__\("),
        (b"wget", rb"[;|&`]\s*wget\s+(?:-|http)"),
        (b"#!", rb"#!\s?/(?:bin|usr|system|data)/"),
        (b"%!ps", rb"%!ps[\s-]"),
        (b"push graphic-context", rb"push graphic-context"),
        (b':"', rb"\bo:\d+:\"[a-z_\\]+\":\d+:\{"),
    )
)
_WINDOW: Final = 2**18  # one search holds the interpreter: keep each of them short
_OVERLAP: Final = 4096  # a signature and what has to stand behind it
_SEARCHED: Final = ((b"Rar!\x1a\x07", "a RAR archive"), (b"7z\xbc\xaf\x27\x1c", "a 7z archive"))


def refuse_active(data: bytes, metadata: Iterable[tuple[int, int]], inflated: Iterable[bytes]) -> None:
    """Refuse a file that carries a script, a page, a program or an archive beside its pixels."""
    found = find_active(data)
    if found:
        raise RefusedError("active_content", found)
    if find_archive(data) or in_tail(data, max(0, len(data) - _TAIL), len(data)):
        raise RefusedError("embedded_file", "archive, document or program")
    found = at_fixed_offset(data)
    if found:
        raise RefusedError("embedded_file", found)
    for start, end in metadata:
        found = _in_metadata(data, start, end)
        if found:
            raise RefusedError("active_content", found)
    for text in inflated:
        found = find_active(text) or _in_metadata(text, 0, len(text))
        if found:
            raise RefusedError("active_content", found)


def find_active(data: bytes) -> str:
    """Return the first page or script anywhere in `data`, or ""."""
    for at in range(0, len(data), _WINDOW):
        found = _ANYWHERE.search(data, at, min(len(data), at + _WINDOW + 64))
        if found:
            return found.group().decode("ascii").lower()
    return ""


def find_signature(data: bytes) -> str:
    """Return the signature of an archive whose readers search for it anywhere, or ""."""
    return next((name for magic, name in _SEARCHED if magic in data), "")


def _in_metadata(data: bytes, start: int, end: int) -> str:
    for at in range(start, end, _WINDOW):
        stop = min(end, at + _WINDOW + _OVERLAP)
        found = in_metadata(data, at, stop)
        if found:
            return found
        window = data[at:stop].lower()
        for literal, pattern in _MARKUP:
            if literal in window and pattern.search(window):
                return literal.decode("ascii")
    return ""


def find_archive(data: bytes) -> bool:
    """Return True when `data` is a ZIP archive as well: readers of ZIP look for its directory from the end."""
    at = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    if at < 0 or at + 22 > len(data):
        return False
    size, offset = (int.from_bytes(data[at + k : at + k + 4], "little") for k in (12, 16))
    directory = b"PK\x01\x02"
    return data.startswith(directory, max(0, at - size)) or data.startswith(directory, offset)
