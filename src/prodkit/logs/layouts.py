"""Layouts of a JSON line: ours, and those of Elastic, Google Cloud and OpenTelemetry. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

__all__ = ["LAYOUTS", "OWN", "Layout", "Parts", "arrange"]

Layout: TypeAlias = Literal["json", "ecs", "gcp", "otel", "text"]
Parts: TypeAlias = dict[str, Any]
"""``time level logger where message service version trace_id span_id fields``, and for errors
``error_type error_message error_stack``; already redacted."""

_OTEL: Final = {
    "TRACE": 1, "DEBUG": 5, "INFO": 9, "SUCCESS": 9, "WARNING": 13, "ERROR": 17, "CRITICAL": 21,
}  # fmt: skip
_GCP: Final = {"TRACE": "DEBUG", "SUCCESS": "NOTICE"}
OWN: Final = frozenset(
    [
        "time",
        "level",
        "logger",
        "message",
        "where",
        "error",
        "traceback",
        "service",
        "version",
        "trace_id",
        "span_id",
        "error.type",
        "error.message",
        "error.stack",
    ]
)
"""Keys of our own layout; a field of that name gets a ``_``."""


def arrange(layout: Layout, parts: Parts) -> dict[Any, Any]:
    """Return the line of `parts` in `layout`, as a dictionary."""
    return LAYOUTS[layout](parts)


def _json(parts: Parts) -> dict[Any, Any]:
    line: dict[Any, Any] = {name: parts[name] for name in ("time", "level", "logger", "message", "where")}
    _optional(line, parts, service="service", version="version", trace_id="trace_id", span_id="span_id")
    for key, value in parts["fields"].items():
        line[f"{key}_" if key in OWN else key] = value
    if "error_type" in parts:
        line["error"] = line["error.type"] = parts["error_type"]
        line["error.message"] = parts["error_message"]
        line["traceback"] = line["error.stack"] = parts["error_stack"]
    return line


def _ecs(parts: Parts) -> dict[Any, Any]:
    """Elastic Common Schema 8."""
    line: dict[Any, Any] = {
        "@timestamp": parts["time"],
        "log.level": parts["level"].lower(),
        "message": parts["message"],
        "ecs.version": "8.11.0",
        "log.logger": parts["logger"],
        "log.origin": _origin(parts),
    }
    names = {
        "service": "service.name",
        "version": "service.version",
        "trace_id": "trace.id",
        "span_id": "span.id",
    }
    _optional(line, parts, **names)
    if "error_type" in parts:
        line["error.type"] = parts["error_type"]
        line["error.message"] = parts["error_message"]
        line["error.stack_trace"] = parts["error_stack"]
    if parts["fields"]:
        line["labels"] = parts["fields"]
    return line


def _gcp(parts: Parts) -> dict[Any, Any]:
    """Google Cloud Logging; with a stack trace Error Reporting groups the line."""
    origin = _origin(parts)
    line: dict[Any, Any] = {
        "time": parts["time"],
        "severity": _GCP.get(parts["level"], parts["level"]),
        "message": parts["message"],
        "logger": parts["logger"],
        "logging.googleapis.com/sourceLocation": {
            "file": origin["file.name"],
            "line": str(origin["file.line"]),
        },
    }
    _optional(
        line,
        parts,
        trace_id="logging.googleapis.com/trace",
        span_id="logging.googleapis.com/spanId",
    )
    if "service" in parts:
        line["serviceContext"] = {"service": parts["service"], "version": parts.get("version", "")}
    if "error_type" in parts:
        line["error"] = {"type": parts["error_type"], "message": parts["error_message"]}
        line["stack_trace"] = parts["error_stack"]
    for key, value in parts["fields"].items():
        line[f"{key}_" if key in line else key] = value
    return line


def _otel(parts: Parts) -> dict[Any, Any]:
    """The log data model of OpenTelemetry."""
    attributes: dict[Any, Any] = {"logger.name": parts["logger"], **_code(parts), **parts["fields"]}
    if "error_type" in parts:
        attributes["exception.type"] = parts["error_type"]
        attributes["exception.message"] = parts["error_message"]
        attributes["exception.stacktrace"] = parts["error_stack"]
    resource: dict[str, Any] = {}
    _optional(resource, parts, service="service.name", version="service.version")
    line: dict[Any, Any] = {
        "Timestamp": parts["time"],
        "SeverityText": parts["level"],
        "SeverityNumber": _OTEL.get(parts["level"], 9),
        "Body": parts["message"],
        "Resource": resource,
        "Attributes": attributes,
    }
    _optional(line, parts, trace_id="TraceId", span_id="SpanId")
    return line


def _optional(line: dict[Any, Any], parts: Parts, **names: str) -> None:
    for part, name in names.items():
        if part in parts:
            line[name] = parts[part]


def _origin(parts: Parts) -> dict[str, Any]:
    file, _, number = parts["where"].rpartition(":")
    return {"file.name": file, "file.line": int(number) if number.isdigit() else 0}


def _code(parts: Parts) -> dict[str, Any]:
    origin = _origin(parts)
    return {"code.file.path": origin["file.name"], "code.line.number": origin["file.line"]}


LAYOUTS: Final[Mapping[str, Callable[[Parts], dict[Any, Any]]]] = {
    "json": _json,
    "ecs": _ecs,
    "gcp": _gcp,
    "otel": _otel,
}
