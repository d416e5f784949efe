from __future__ import annotations

import io
import json
from typing import Any

import pytest
from loguru import logger

from prodkit import Runtime, logs


def line(layout: str, **options: Any) -> dict[str, Any]:
    stream = io.StringIO()
    with logs.setup(
        stream=stream,
        layout=layout,
        service="shop",
        version="1.2",
        runtime=Runtime(),
        **options,  # type: ignore[arg-type]
    ):
        try:
            raise ValueError("password=hunter2")
        except ValueError:
            logger.bind(order=7).exception("failed")
    assert "hunter2" not in stream.getvalue()
    found: dict[str, Any] = json.loads(stream.getvalue())
    return found


def test_json() -> None:
    found = line("json")
    assert (found["service"], found["version"], found["order"]) == ("shop", "1.2", 7)
    assert (found["error.type"], found["error.message"]) == ("ValueError", "password=***")
    assert "Traceback" in found["error.stack"]


def test_ecs() -> None:
    found = line("ecs")
    assert found["log.level"] == "error"
    assert (found["service.name"], found["service.version"]) == ("shop", "1.2")
    assert found["error.type"] == "ValueError"
    assert found["labels"] == {"order": 7}
    assert found["@timestamp"].endswith("Z")


def test_gcp() -> None:
    found = line("gcp")
    assert found["severity"] == "ERROR"
    assert found["serviceContext"] == {"service": "shop", "version": "1.2"}
    assert found["logging.googleapis.com/sourceLocation"]["file"] == "test_layouts.py"
    assert "Traceback" in found["stack_trace"]


def test_otel() -> None:
    found = line("otel")
    assert (found["SeverityText"], found["SeverityNumber"], found["Body"]) == ("ERROR", 17, "failed")
    assert found["Resource"] == {"service.name": "shop", "service.version": "1.2"}
    assert found["Attributes"]["exception.type"] == "ValueError"
    assert found["Attributes"]["order"] == 7


def test_trace_and_span_of_the_current_opentelemetry_span() -> None:
    from opentelemetry.sdk.trace import TracerProvider

    stream = io.StringIO()
    with (
        logs.setup(stream=stream, runtime=Runtime()),
        TracerProvider().get_tracer("t").start_as_current_span("s") as span,
    ):
        logger.info("inside")
        wanted = span.get_span_context()
    found = json.loads(stream.getvalue())
    assert found["trace_id"] == f"{wanted.trace_id:032x}"
    assert found["span_id"] == f"{wanted.span_id:016x}"


def test_text_and_wrong_layouts() -> None:
    stream = io.StringIO()
    with logs.setup(stream=stream, layout="text", runtime=Runtime()):
        logger.info("read me")
    assert "INFO" in stream.getvalue()
    with pytest.raises(ValueError, match="layout must be one of"):
        logs.setup(layout="xml")  # type: ignore[arg-type]


def test_no_character_splits_a_line() -> None:
    stream = io.StringIO()
    with logs.setup(stream=stream, runtime=Runtime()):
        logger.info("a\x85b\u2028c\u2029d\x0be\x0cf\x1cg")
    assert len(stream.getvalue().splitlines()) == 1
    assert json.loads(stream.getvalue())["message"] == "a\x85b\u2028c\u2029d\x0be\x0cf\x1cg"
