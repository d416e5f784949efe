from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from loguru import logger

from prodkit import Event, EventStream
from prodkit.logs.bridge import Bridge


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold(Event):
    name = "shop.sold"
    level = "WARNING"
    items: int


@pytest.fixture
def records() -> Iterator[list[Any]]:
    """What loguru records while the bridge is open."""
    found: list[Any] = []
    sink = logger.add(lambda message: found.append(message.record), format="{message}", level="DEBUG")  # type: ignore[attr-defined]
    yield found
    logger.remove(sink)


@pytest.fixture
def bridge(records: list[Any]) -> Iterator[Bridge]:
    made = Bridge(logger, "INFO")
    yield made
    made.close()


def test_lines_of_the_standard_library_keep_logger_level_and_place(
    bridge: Bridge, records: list[Any]
) -> None:
    logging.getLogger("shop.cart").warning("%d items", 3)
    logging.getLogger("shop.cart").log(35, "between two levels")
    assert [(each["name"], each["level"].name, each["message"]) for each in records] == [
        ("shop.cart", "WARNING", "3 items"),
        ("shop.cart", "WARNING", "between two levels"),
    ]
    assert records[0]["extra"]["_path"] == __file__
    assert (records[0]["file"].name, records[0]["file"].path) == ("test_bridge.py", __file__)
    assert f"{records[0]['file']:>20}".endswith("test_bridge.py")


def test_extra_fields_a_stack_and_a_rendered_error_are_kept(bridge: Bridge, records: list[Any]) -> None:
    logging.getLogger("shop").info("sold", extra={"items": 3, "user": "ana"})
    assert {key: records[0]["extra"][key] for key in ("items", "user")} == {"items": 3, "user": "ana"}
    assert set(records[0]["extra"]) == {"items", "user", "_path"}
    logging.getLogger("shop").info("here", stack_info=True)
    assert records[1]["message"].startswith("here\nStack (most recent call last):")
    queued = logging.makeLogRecord({"msg": "failed", "levelno": 40, "exc_text": "ValueError: x"})
    logging.getLogger("shop").handle(queued)
    assert records[2]["message"] == "failed\nValueError: x"


def test_arguments_that_do_not_fit_leave_a_line_and_no_error(records: list[Any]) -> None:
    bridge = Bridge(logger, "INFO")  # made here: it replaces the handlers of pytest, which would raise
    try:
        logging.getLogger("shop").error("%d items", "three")
    finally:
        bridge.close()
    assert "%d items" in records[0]["message"]
    assert "could not be shown" in records[0]["message"]


def test_events_are_logged_with_their_level_and_fields_until_it_is_closed(
    bridge: Bridge, records: list[Any]
) -> None:
    events = EventStream()
    bridge.events(events.subscribe)
    events.emit(Sold(items=3))
    bridge.close()
    events.emit(Sold(items=4))
    [record] = records
    assert (record["name"], record["level"].name, record["message"]) == ("prodkit", "WARNING", "shop.sold")
    assert record["extra"] == {"items": 3}


def test_warnings_become_lines(bridge: Bridge, records: list[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning: old" in records[0]["message"]


def test_uncaught_errors_become_lines(bridge: Bridge, records: list[Any]) -> None:
    error = LookupError("lost")
    sys.excepthook(LookupError, error, None)
    threading.excepthook(threading.ExceptHookArgs((LookupError, error, None, threading.current_thread())))
    threading.excepthook(threading.ExceptHookArgs((SystemExit, SystemExit(), None, None)))
    assert [each["message"] for each in records] == ["uncaught exception", "uncaught exception in a thread"]
    assert records[1]["extra"]["thread"] == threading.current_thread().name


def test_closing_puts_loggers_and_hooks_back() -> None:
    root, uvicorn, httpx = map(logging.getLogger, ("", "uvicorn", "httpx"))
    handler = logging.NullHandler()
    uvicorn.addHandler(handler)

    def state() -> list[object]:
        hooks: list[object] = [sys.excepthook, threading.excepthook]
        return [
            *hooks,
            list(root.handlers),
            root.level,
            list(uvicorn.handlers),
            uvicorn.propagate,
            httpx.level,
        ]

    try:
        before = state()
        made = Bridge(logger, "INFO")
        assert uvicorn.handlers == []
        assert httpx.getEffectiveLevel() >= logging.WARNING
        made.close()
        made.close()
        assert state() == before
    finally:
        uvicorn.removeHandler(handler)
