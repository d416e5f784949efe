"""Spellings of a secret: the forms in which its value turns up in logs, addresses and payloads. Pure."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, quote_plus

__all__ = ["Spellings", "spellings"]

_SHORTEST_BASE64 = 8  # characters; fewer are found by chance in any base64 text


class Spellings(NamedTuple):
    """The forms of one value.

    Args:
        literal: the value, and forms that begin and end where it does.
        base64: what a base64 text around it holds; the characters beside it may hold some of its bits.
    """

    literal: frozenset[str]
    base64: frozenset[str]


def spellings(value: str) -> Spellings:
    """Return `value` and its usual encodings.

    These are the percent-encodings (with capital and small hex digits, and encoded twice), the JSON and Python
    escapes, HTML entities, hex, and base64 in both alphabets at each of the three offsets.
    """
    found = {value, repr(value)[1:-1], html.escape(value), html.escape(value, quote=False)}
    for encoded in _percent(value):
        found.update((encoded, _small_escapes(encoded)))
    for ascii_only in (True, False):
        escaped = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        found.update((escaped, _capital_escapes(escaped), escaped.replace("/", "\\/")))
    raw = value.encode("utf-8", "surrogatepass")
    found.update((raw.hex(), raw.hex().upper()))
    return Spellings(frozenset(found), frozenset(_base64(raw)))


def _percent(value: str) -> Iterator[str]:
    text = value.encode("utf-8", "surrogatepass")
    for safe in ("/", ""):
        once = quote(text, safe=safe)
        yield once
        yield quote(once, safe="")
    yield quote_plus(text)


def _small_escapes(text: str) -> str:
    """``%2F`` as ``%2f``; the rest of the text keeps its case."""
    head, *rest = text.split("%")
    return "%".join((head, *(part[:2].lower() + part[2:] for part in rest)))


def _capital_escapes(text: str) -> str:
    r"""``\u00e9`` as ``\u00E9``."""
    head, *rest = text.split("\\u")
    return "\\u".join((head, *(part[:4].upper() + part[4:] for part in rest)))


def _base64(raw: bytes) -> Iterator[str]:
    """The base64 characters that depend on `raw` alone, for the three places it can have in a group of three bytes.

    Base64 turns 3 bytes into 4 characters of 6 bits. Where a secret begins 1 byte into a group, its first character
    also holds bits of the byte before it, and the last one may hold bits of the byte after it; those are left out::

        bytes        | before S0 S1 | S2 S3 S4 | S5 after after |
        characters   |  x   y  z  w | k  l m n | p   y   x   x  |      x: not ours, y: partly ours
    """
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        start = (0, 2, 3)[before]
        end = (before + len(raw)) * 8 // 6  # characters whose six bits are all known
        inner = text[start:end]
        if len(inner) >= _SHORTEST_BASE64:
            yield inner
            yield inner.translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")
