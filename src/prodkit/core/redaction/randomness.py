"""Random or written by a person? Judges the value beside a name that may or may not hide something. Pure."""

from __future__ import annotations

import math
import re

__all__ = ["looks_random"]

_TOKEN = re.compile(r"[A-Za-z0-9+/=_.~:%!@#$^*-]{10,}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_HEX = re.compile(r"[0-9a-f]{16,}|[0-9A-F]{16,}")
_DATE = re.compile(r"(?:19|20)\d\d[-/.]?[01]\d[-/.]?[0-3]\d")
_PATH = re.compile(r"[./~]|[A-Za-z]:[\\/]|[a-z]+://")
_WORDS = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{3,}|\d+")
_PARTS = re.compile(r"[-_.:/=]")
_VERSION = re.compile(r"[vV]\d{1,3}")
_JUDGED = 256  # characters; more tell nothing new
_CHANGES = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
_VOWEL = re.compile(r"[aeiouyAEIOUY]")
_CLUSTER = re.compile(r"[^aeiouyAEIOUY]{4}")


def looks_random(value: str) -> bool:
    """Return True when `value` looks drawn by a generator: hex, a UUID, or mixed characters that form no words.

    Words are runs of letters with a usual share of vowels. A value counts as random when most of it is not words and
    its characters spread widely::

        b1d6f2a09c3e4d57            hex of 16 or more
        kq2vS1nGdJ0m4T8yRwZc        mixed, no words
        council:v1:home-page        words
        2026-11-24T18:00:00         a date
    """
    value = value[:_JUDGED]
    size = len(value)
    if value.count("=") > 3 or value.count(":") > 1:
        return False  # further pairs, not one value
    if size < 10 or _TOKEN.fullmatch(value) is None:
        return False
    if _UUID.fullmatch(value) or (_HEX.fullmatch(value) and len(set(value)) >= 6 and not value.isdigit()):
        return True
    digits = sum(map(str.isdigit, value))
    if digits == 0 and size < 16:
        return False
    if digits * 2 > size and not any(map(str.isalpha, value)):
        return False  # numbers, addresses, dates
    if _DATE.match(value) or (_PATH.match(value) and value.count("/") > 1):
        return False
    if all(
        part.isdigit() or (part.isalpha() and _is_word(part)) or _VERSION.fullmatch(part)
        for part in _PARTS.split(value)
        if part
    ):
        return False  # council:v1, order/123, cache-entry-7
    if size >= 14 and len(_CHANGES.findall(value)) >= 4:
        return True  # letters and digits take turns: oijsu1uf1qjidof
    worded = sum(len(word) for word in _WORDS.findall(value) if _is_word(word))
    if worded * 5 > size * 3:
        return False
    counts = map(value.count, set(value))
    bits = -sum(count * math.log2(count / size) for count in counts) / size
    mixed = digits > 0 or (any(map(str.islower, value)) and any(map(str.isupper, value)))
    return mixed and bits >= (2.5 if size < 12 else 3.0)


def _is_word(run: str) -> bool:
    """A run of letters that can be spoken: between a fifth and two thirds vowels, no long cluster of consonants."""
    if run.isdigit():
        return False
    vowels = len(_VOWEL.findall(run))
    return len(run) <= 5 * vowels <= len(run) * 4 and _CLUSTER.search(run) is None
