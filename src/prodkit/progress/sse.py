"""The wire format of server-sent events (WHATWG HTML, 9.2). Pure.

What a browser would drop or misread is refused or changed here: an id with NUL is ignored by browsers, so ids are
numbers; a bare CR ends a line too, so comments are split on all three endings; a name with a line break would be
another field.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from prodkit.progress.memory_log import Progress

__all__ = ["check_name", "comment", "encode", "parse_last_event_id", "retry"]

_LINES: Final = re.compile("\r\n|\r|\n")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\Z")
_NUMBER: Final = re.compile(r"[0-9]{1,15}\Z")


def check_name(name: object) -> None:
    """Raises ValueError unless `name` is 1 to 64 letters, digits or ``_.:-``."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError(f"an event name is 1 to 64 letters, digits or '_.:-', got {name!r}")


def encode(event: Progress) -> bytes:
    """One event as a block of lines. Data is JSON; a string is sent as JSON too, so that it can be read back."""
    check_name(event.name)
    text = json.dumps(event.data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # JSON escapes CR and LF, the only line ends of this format, so the data is always one line.
    return f"id: {event.id}\nevent: {event.name}\ndata: {text}\n\n".encode("utf-8", "replace")


def comment(text: str = "") -> bytes:
    """A line that clients ignore and proxies count as life: the heart-beat."""
    return "".join(f": {line}\n" for line in _LINES.split(text)).encode() + b"\n"


def retry(seconds: float) -> bytes:
    """How long a client waits before it connects again."""
    return f"retry: {max(0, round(seconds * 1000))}\n\n".encode()


def parse_last_event_id(text: Any) -> int | None:
    """The number in a ``Last-Event-ID``, or None where it is not one of ours."""
    return int(text) if isinstance(text, str) and _NUMBER.match(text) else None
