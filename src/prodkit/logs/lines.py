"""From an event to one line: valid JSON for machines, or a readable line for people. Neither ever fails."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeAlias

import orjson

from prodkit.core.redaction.redactor import redact, redact_text, show
from prodkit.logs.layouts import OWN, Layout, arrange

__all__ = ["Entry", "json_line", "text_line", "traceback_text"]

Raised: TypeAlias = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]

_FRAMES = 40
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
_NOTHING: Mapping[str, str] = {}


@dataclass(slots=True)
class Entry:
    """One event before redaction."""

    time: datetime
    level: str
    logger: str
    where: str
    message: str
    fields: Mapping[str, Any]
    error: BaseException | None = None


def traceback_text(error: BaseException) -> str:
    """The traceback of `error` with its causes, without local variables, redacted after it was rendered.

    Only the whole text shows a secret that a message, a note or a source line holds.
    """
    try:
        lines = traceback.TracebackException.from_exception(
            error, limit=-_FRAMES, capture_locals=False
        ).format()
        return redact_text("".join(lines).rstrip("\n"))
    except Exception:  # noqa: BLE001 - an exception whose __str__ raises, a chain that never ends
        return f"{type(error).__name__}: <its traceback could not be rendered>"


def json_line(entry: Entry, layout: Layout = "json", about: Mapping[str, str] = _NOTHING) -> bytes:
    """Return one line of JSON (RFC 8259), line break included.

    Args:
        entry: the event.
        layout: the names of the keys: ``json``, ``ecs``, ``gcp`` or ``otel``.
        about: ``service`` and ``version`` of the process.
    """
    if layout == "json" and entry.error is None:
        return _plain_line(entry, about)
    parts: dict[str, Any] = {
        "time": _stamp(entry.time),
        "level": entry.level,
        "logger": entry.logger,
        "message": redact_text(entry.message),
        "where": entry.where,
        "fields": redact(dict(entry.fields)) if entry.fields else {},
        **about,
        **_trace(),
    }
    if entry.error is not None:
        parts["error_type"] = type(entry.error).__name__
        parts["error_message"] = redact_text(show(entry.error))
        parts["error_stack"] = traceback_text(entry.error)
    return _dumps(arrange(layout, parts))


def _plain_line(entry: Entry, about: Mapping[str, str]) -> bytes:
    """The usual line, made without the steps that other layouts and errors need."""
    line: dict[Any, Any] = {
        "time": _stamp(entry.time),
        "level": entry.level,
        "logger": entry.logger,
        "message": redact_text(entry.message),
        "where": entry.where,
        **about,
    }
    if "opentelemetry.trace" in sys.modules:
        line.update(_trace())
    if entry.fields:
        fields = redact(entry.fields)
        if OWN.isdisjoint(fields):
            line.update(fields)
        else:
            line.update((f"{key}_" if key in OWN else key, value) for key, value in fields.items())
    return _dumps(line)


def _stamp(time: datetime) -> str:
    """ISO 8601 in UTC with milliseconds; the text of a second is kept, since many lines share it."""
    global _second
    seconds = int(time.timestamp())
    known = _second
    if known[0] != seconds:
        known = _second = (seconds, datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    return f"{known[1]}.{time.microsecond // 1000:03}Z"


_second: tuple[int, str] = (-1, "")


def _trace() -> dict[str, str]:
    """Trace and span of the current OpenTelemetry span, when the service uses it."""
    module = sys.modules.get("opentelemetry.trace")
    if module is None:
        return {}
    span = module.get_current_span().get_span_context()
    if not span.is_valid:
        return {}
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


def _dumps(line: dict[Any, Any]) -> bytes:
    try:
        raw = orjson.dumps(line, default=show, option=_OPTIONS)
    except TypeError:  # a lone surrogate, or keys that cannot be one
        raw = orjson.dumps(_plain(line), default=show, option=_OPTIONS)
    if b"\xe2\x80" in raw:  # U+2028 and U+2029 end a line for some readers
        raw = raw.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    if b"\xc2\x85" in raw:  # so does U+0085
        raw = raw.replace(b"\xc2\x85", b"\\u0085")
    return raw


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_plain(show(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int | float | type(None)):
        return value
    return _plain(show(value))


_COLOURS = {"DEBUG": "\x1b[2m", "INFO": "", "SUCCESS": "\x1b[32m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m"}
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(0x7F, 0xA0)) if code != 9} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def text_line(entry: Entry, *, colour: bool = False) -> bytes:
    """A line to read in a terminal. Control characters are shown, so that no text can forge a line or a colour."""
    head = entry.time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    fields = " ".join(
        f"{_safe(show(key))}={_safe(show(value))}" for key, value in redact(dict(entry.fields)).items()
    )
    text = f"{head} {entry.level:<8} {_safe(entry.logger)}  {_safe(redact_text(entry.message))}"
    if fields:
        text += f"  {fields}"
    if colour:
        begin = _COLOURS.get(entry.level, "\x1b[1;31m")
        text = f"{begin}{text}\x1b[0m" if begin else text
    if entry.error is not None:
        shown = (f"    {_safe(part)}" for part in traceback_text(entry.error).splitlines())
        text = "\n".join((text, *shown))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _safe(text: str) -> str:
    return text.translate(_CONTROLS)
