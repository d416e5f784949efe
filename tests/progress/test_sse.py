from __future__ import annotations

import json
import random

import pytest

from prodkit.progress import Progress, comment, encode, parse_last_event_id
from prodkit.progress.sse import retry


def parse(raw: bytes) -> list[dict[str, str]]:
    """The events a browser reads from a stream: the algorithm of WHATWG HTML 9.2.6, without the encoder."""
    events: list[dict[str, str]] = []
    current: dict[str, list[str]] = {}
    last_id = ""
    for line in raw.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if not line:
            if "data" in current:
                name = current.get("event", ["message"])[-1]
                events.append({"id": last_id, "event": name, "data": "\n".join(current["data"])})
            current = {}
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "id" and "\0" not in value:
                last_id = value
            current.setdefault(field, []).append(value)
    return events


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"a": "linha\nlinha"},
        "\r\n\r\n",
        "id: 9\nevent: evil\n\n",
        "\u2028\u2029\x85\x0b",
        "data:",
        "\0",
        "ção 🎉",
        7,
    ],
)
def test_any_data_comes_back_as_one_event(data: object) -> None:
    got = parse(encode(Progress(3, "expert.finished", data)))
    assert len(got) == 1
    assert got[0]["id"] == "3"
    assert got[0]["event"] == "expert.finished"
    assert json.loads(got[0]["data"]) == data


def test_random_text_never_forges_a_second_event() -> None:
    dice = random.Random(9)
    for _ in range(2000):
        data = "".join(dice.choice("\r\n\0 :adetivn\u2028x") for _ in range(dice.randint(0, 60)))
        got = parse(encode(Progress(1, "x", data)))
        assert [json.loads(each["data"]) for each in got] == [data]


def test_half_a_surrogate_pair_does_not_break_the_stream() -> None:
    assert json.loads(parse(encode(Progress(1, "x", "a\ud800b")))[0]["data"]) == "a?b"


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "", "a b", "é", "a" * 65])
def test_a_name_that_would_be_a_field_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="event name"):
        encode(Progress(1, name, None))


def test_comments_and_retry_are_no_events() -> None:
    assert parse(comment("ping") + comment("a\ndata: x\n\n") + comment("b\rdata: y\r\r") + retry(2.5)) == []
    assert retry(2.5) == b"retry: 2500\n\n"


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), ("0", 0), (None, None), ("", None), ("-1", None), ("1.5", None), ("7\n", None), ("٣", None),
     ("9" * 16, None), (" 7", None), ("null", None)],
)  # fmt: skip
def test_last_event_ids(text: str | None, number: int | None) -> None:
    assert parse_last_event_id(text) == number
