from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from prodkit.core.secrets import REGISTRY
from prodkit.logs.lines import Entry, json_line, text_line, traceback_text

NOON = datetime(2026, 11, 24, 12, 0, 0, 7_000, tzinfo=UTC)


def entry(message: str = "hello", error: BaseException | None = None, **fields: Any) -> Entry:
    return Entry(NOON, "INFO", "shop", "shop.py:7", message, fields, error)


def parsed(line: bytes) -> dict[str, Any]:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_a_line_holds_time_in_utc_level_place_fields_and_the_service() -> None:
    found = parsed(json_line(entry(user=7), about={"service": "shop"}))
    assert found == {
        "time": "2026-11-24T12:00:00.007Z",
        "level": "INFO",
        "logger": "shop",
        "message": "hello",
        "where": "shop.py:7",
        "service": "shop",
        "user": 7,
    }


def test_the_time_of_another_zone_is_turned_into_utc() -> None:
    moved = entry()
    moved.time = NOON.astimezone(timezone(timedelta(hours=-3)))
    assert parsed(json_line(moved))["time"] == "2026-11-24T12:00:00.007Z"


def test_a_field_never_replaces_a_key_of_the_line() -> None:
    found = parsed(json_line(entry(level="mine", time=3)))
    assert (found["level"], found["level_"], found["time_"]) == ("INFO", "mine", 3)


def test_secrets_are_masked_in_message_fields_and_traceback() -> None:
    REGISTRY.add("horse-battery-9")
    error = raised(ValueError("wrong: horse-battery-9"))
    for line in (
        json_line(entry("said horse-battery-9", note="horse-battery-9", password="x1")),
        json_line(entry(error=error)),
        text_line(entry("said horse-battery-9", error, note="horse-battery-9")),
        traceback_text(error).encode(),
    ):
        assert b"horse-battery-9" not in line
        assert b"***" in line


@pytest.mark.parametrize("text", ["a\nb", "a\u2028b", "a\u0085b", "\ud800", "\x00", "é", '"', "\x1b[31m"])
def test_every_text_gives_one_line_in_json_and_in_text(text: str) -> None:
    line = json_line(entry(text, field=text))
    assert len(line.decode().splitlines()) == 1
    assert "message" in parsed(line)
    shown = text_line(entry(text, field=text))
    assert len(shown.decode().splitlines()) == 1
    assert b"\x1b" not in shown


def test_values_and_keys_that_json_does_not_know_are_shown() -> None:
    class Broken:
        def __str__(self) -> str:
            raise LookupError

        __repr__ = __str__

    odd: dict[Any, Any] = {("a", 1): {2, 3}, 7: float("nan")}
    found = parsed(json_line(entry(odd=odd, broken=Broken(), big=2**70)))
    assert {"odd", "broken", "big"} <= set(found)


def test_an_error_has_its_type_message_and_the_traceback_with_causes() -> None:
    try:
        try:
            raise LookupError("inner")
        except LookupError as inner:
            raise ValueError("outer") from inner
    except ValueError as error:
        found = parsed(json_line(entry(error=error)))
    assert "ValueError" in json.dumps(found)
    assert "LookupError: inner" in json.dumps(found)


def test_an_error_that_cannot_be_shown_leaves_a_line_all_the_same() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert "Broken" in traceback_text(raised(Broken()))
    assert "message" in parsed(json_line(entry(error=raised(Broken()))))


def test_text_is_coloured_by_level_only_when_asked_and_shows_fields() -> None:
    warned = entry(user=7)
    warned.level = "WARNING"
    assert b"WARNING" in text_line(warned)
    assert text_line(warned).rstrip().endswith(b"hello  user=7")
    assert b"\x1b" not in text_line(warned)
    assert text_line(warned, colour=True).startswith(b"\x1b[33m")
