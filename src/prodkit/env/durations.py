"""Durations as people write them: ``90``, ``30s``, ``1h30m``, ``7d``. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

__all__ = ["duration"]

_PLAIN: Final = re.compile(r"[+-]?\d+(?:\.\d+)?")
_PARTS: Final = re.compile(
    r"(?:(?P<weeks>\d+(?:\.\d+)?)\s*w(?:eeks?)?)?\s*"
    r"(?:(?P<days>\d+(?:\.\d+)?)\s*d(?:ays?)?)?\s*"
    r"(?:(?P<hours>\d+(?:\.\d+)?)\s*h(?:ours?|rs?)?)?\s*"
    r"(?:(?P<minutes>\d+(?:\.\d+)?)\s*m(?:in(?:ute)?s?)?(?!s))?\s*"
    r"(?:(?P<seconds>\d+(?:\.\d+)?)\s*s(?:ec(?:ond)?s?)?)?\s*"
    r"(?:(?P<milliseconds>\d+(?:\.\d+)?)\s*ms)?",
    re.IGNORECASE,
)
_LONGEST: Final = 64  # characters


def duration(text: str) -> timedelta | None:
    """Return the duration that `text` writes, or None when it is none of ours: pydantic reads ISO 8601 and clocks.

    Args:
        text: seconds without a unit (``90``), or numbers with units from weeks to milliseconds (``1h 30m``).
    """
    text = text.strip()
    if not text or len(text) > _LONGEST:
        return None
    try:
        if _PLAIN.fullmatch(text):
            return timedelta(seconds=float(text))
        found = _PARTS.fullmatch(text)
        return (
            timedelta(**{unit: float(number) for unit, number in found.groupdict("0").items()})
            if found
            else None
        )
    except OverflowError:
        return None
