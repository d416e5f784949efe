"""Search as people type: in any case and without accents, every word somewhere in the text."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["folded", "patterns"]

_WORDS: Final = 8


def _plain(letter: str) -> str:
    """``a`` for ``á``; nothing for a letter that has no such form."""
    base = unicodedata.normalize("NFD", letter)[0]
    return base if base != letter and base.isascii() else ""


_ACCENTED: Final = "".join(filter(_plain, map(chr, range(0xC0, 0x250))))
_PLAIN: Final = "".join(map(_plain, _ACCENTED))
_MARKS: Final = "".join(map(chr, range(0x300, 0x370)))
"""Accents as characters of their own, as some systems type them: `translate` drops what has no counterpart."""


def folded(expression: str) -> str:
    """The SQL for a text without accents and capitals; for ``like`` and `patterns`."""
    return f"lower(translate({expression}, '{_ACCENTED}{_MARKS}', '{_PLAIN}'))"


def patterns(words: str) -> list[str]:
    """One pattern of ``like`` for each of the first eight words, which mean what they say: ``%`` is a per cent sign."""
    found = []
    for word in words.split()[:_WORDS]:
        text = "".join(_plain(each) or each for each in unicodedata.normalize("NFC", word))
        text = "".join(each for each in text if each not in _MARKS and each != "\x00").lower()
        for special in "\\%_":
            text = text.replace(special, f"\\{special}")
        found.append(f"%{text}%")
    return found
