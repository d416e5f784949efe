"""Search as people type: in any case and without accents, every word somewhere in the text."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["folded", "patterns"]

_WORDS: Final = 8
_MARKS: Final = r"[\u0300-\u036f]+"
"""Accents, apart from their letters; Python and PostgreSQL read it alike."""


def folded(expression: str) -> str:
    """The SQL for a text without accents and capitals; for ``like all`` and `patterns`, which fold in the same way."""
    return f"lower(regexp_replace(normalize({expression}, NFD), '{_MARKS}', '', 'g'))"


def patterns(words: str) -> list[str]:
    """One pattern of ``like`` for each of the first eight words, which mean what they say: ``%`` is a per cent sign."""
    found = []
    for word in words.split()[:_WORDS]:
        text = re.sub(_MARKS, "", unicodedata.normalize("NFD", word.replace("\x00", "")))
        text = "".join(
            each.lower() for each in text
        )  # one by one: PostgreSQL knows no other sigma at a word's end
        for special in "\\%_":
            text = text.replace(special, f"\\{special}")
        found.append(f"%{text}%")
    return found
