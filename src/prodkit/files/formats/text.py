"""Plain text and CSV: characters only, lines of a bounded length, no cell that a spreadsheet would run."""

from __future__ import annotations

import re
from typing import Final

from prodkit.files.formats.base import RefusedError

__all__ = ["walk_text"]

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_PROGRAM: Final = re.compile(
    r"\s*(?:#!|%PDF-|%!PS|<\?php|<\?=|<!doctype\s+html|<html|<head|<body|<script|<svg|<\?xml|<iframe)",
    re.IGNORECASE,
)
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)  # browsers skip it before they name a page
# A cell that a spreadsheet computes: = anything, or + - @ before a name with a bracket, a pipe or an
# exclamation mark.
_FORMULA: Final = re.compile(
    r"(?:\A|[\n\r,;\t])[ ]*\"?[ ]*(?:=\S|[+\-@][^\n\r,;\t\"]{0,64}?[A-Za-z_]\w{0,64}[ ]*[(|!])"
)
_DDE: Final = re.compile(r"\|\s*'|\bDDE(?:AUTO)?\s*\(", re.IGNORECASE)


def walk_text(data: bytes, *, table: bool, formulas: bool, max_line_bytes: int, max_lines: int) -> str:
    """Return the encoding: utf-8, utf-16 (with its mark) or cp1252, which old spreadsheets write."""
    text, encoding = _decoded(data)
    found = _CONTROLS.search(text)
    if found:
        raise RefusedError("not_text", f"control character U+{ord(found.group()):04X}")
    if _PROGRAM.match(_COMMENT.sub("", text[:1024].removeprefix("\ufeff"))):
        raise RefusedError("active_content", "a page or a program")
    lines = data.count(b"\n") + 1
    if lines > max_lines:
        raise RefusedError("too_many_chunks", f"more than {max_lines} lines")
    if len(data) > max_line_bytes and any(len(line) > max_line_bytes for line in data.split(b"\n")):
        raise RefusedError("too_many_chunks", f"a line of more than {max_line_bytes} bytes")
    if table and not formulas and (_FORMULA.search(text) or _DDE.search(text)):
        raise RefusedError("formula", "a cell begins with a formula")
    return encoding


def _decoded(data: bytes) -> tuple[str, str]:
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding), encoding.removesuffix("-sig")
        except UnicodeDecodeError:
            continue
    raise RefusedError("not_text", "neither UTF-8 nor a known old encoding")
