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

__all__ = ["check_name", "comment", "encode", "parse_last_event_id", "retry", "unnumbered"]

_LINES: Final = re.compile("\r\n|\r|\n")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\Z")
_NUMBER: Final = re.compile(r"[0-9]{1,15}\Z")


def check_name(name: object) -> None:
    """Raise ValueError unless `name` is 1 to 64 letters, digits or ``_.:-``."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError(f"an event name is 1 to 64 letters, digits or '_.:-', got {name!r}")


def encode(event: Progress) -> bytes:
    """Return `event` as a block of lines, its data as JSON; a string is JSON too, so that it can be read back."""
    check_name(event.name)
    return f"id: {event.id}\n".encode() + unnumbered(event.name, event.data)


def unnumbered(name: str, data: Any) -> bytes:
    """Return an event without an id, which leaves the browser's ``Last-Event-ID`` as it was.

    Args:
        name: the event's name.
        data: a JSON value.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # JSON escapes CR and LF, the only line ends of this format, so the data is always one line.
    return f"event: {name}\ndata: {text}\n\n".encode("utf-8", "replace")


def comment(text: str = "") -> bytes:
    """Return `text` as lines that clients ignore and proxies count as traffic: the heartbeat."""
    return "".join(f": {line}\n" for line in _LINES.split(text)).encode() + b"\n"


def retry(seconds: float) -> bytes:
    """Return the field that makes a client wait `seconds` before it reconnects."""
    return f"retry: {max(0, round(seconds * 1000))}\n\n".encode()


def parse_last_event_id(text: Any) -> int | None:
    """Return the number in `text`, a ``Last-Event-ID``, or None where it is not one of ours."""
    return int(text) if isinstance(text, str) and _NUMBER.match(text) else None
