import json
from typing import Any

import pytest

from prodkit.llm.results import Usage
from prodkit.llm.streaming.encoder import DivergedError, Encoder

Raw = dict[str, Any]
START: Raw = {"type": "message_start", "message": {"id": "m", "content": []}}
STOP: Raw = {"type": "content_block_stop", "index": 0}
END: Raw = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}


def opened(kind: str = "text", **more: Any) -> Raw:
    return {"type": "content_block_start", "index": 0, "content_block": {"type": kind, **more}}


def text(piece: str) -> Raw:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}


def input_(piece: str) -> Raw:
    delta = {"type": "input_json_delta", "partial_json": piece}
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def feed(encoder: Encoder, *events: Raw) -> None:
    for event in events:
        encoder.feed(event, (event.get("delta") or {}).get("text", ""))


def read(encoder: Encoder) -> list[Raw]:
    """The events that were sent, each under its own name."""
    found = []
    for block in encoder.take().decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def texts(events: list[Raw]) -> str:
    return "".join((event.get("delta") or {}).get("text", "") for event in events)


def test_one_attempt_is_sent_as_it_came() -> None:
    encoder = Encoder()
    feed(encoder, START, opened(text=""), text("sim\n"), STOP, END)
    encoder.end(None)
    events = read(encoder)
    kinds = [event["type"] for event in events]
    assert kinds == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip
    assert events[-2]["usage"] == {"output_tokens": 1}
    assert encoder.take() == b""


def test_an_attempt_that_fails_before_text_leaves_nothing_behind() -> None:
    encoder = Encoder()
    feed(encoder, START, opened("thinking"))
    assert encoder.take() == b""
    feed(encoder, START, opened(), text("sim"), STOP, END)
    encoder.end(None)
    events = read(encoder)
    assert [event["type"] for event in events].count("message_start") == 1
    assert not any(event.get("content_block", {}).get("type") == "thinking" for event in events)


def test_the_next_attempt_continues_the_open_block_and_usage_is_that_of_all() -> None:
    encoder = Encoder()
    feed(encoder, START, opened(), text("one "))
    feed(encoder, START, opened(), text("two"), STOP, END)
    encoder.end(Usage(3, 9))
    events = read(encoder)
    assert texts(events) == "one two"
    kinds = [event["type"] for event in events]
    assert kinds.count("message_start") == kinds.count("content_block_start") == 1
    assert kinds.count("content_block_stop") == 1
    assert events[-2]["usage"]["output_tokens"] == 9


def test_blocks_are_counted_over_all_attempts() -> None:
    encoder = Encoder()
    feed(
        encoder, START, opened(), text("one"), STOP, opened("tool_use", name="look"), input_("{}"), STOP, END
    )
    encoder.end(None)
    starts = [event["index"] for event in read(encoder) if event["type"] == "content_block_start"]
    assert starts == [0, 1]


def test_a_tool_call_that_is_repeated_sends_only_the_rest_of_its_input() -> None:
    encoder = Encoder()
    call = opened("tool_use", name="look")
    feed(encoder, START, call, input_('{"a": '))
    feed(encoder, START, call, input_('{"a"'), input_(": 1}"), STOP, END)
    encoder.end(None)
    pieces = [(event.get("delta") or {}).get("partial_json", "") for event in read(encoder)]
    assert "".join(pieces) == '{"a": 1}'


@pytest.mark.parametrize(
    "again",
    [
        [opened("tool_use", name="other")],
        [opened("tool_use", name="look"), input_('{"b"')],
        [opened("tool_use", name="look"), input_("{"), STOP],
        [opened(), text("text instead")],
    ],
)
def test_a_tool_call_that_comes_back_otherwise_cannot_be_continued(again: list[Raw]) -> None:
    encoder = Encoder()
    feed(encoder, START, opened("tool_use", name="look"), input_('{"a": '))
    with pytest.raises(DivergedError):
        feed(encoder, START, *again)


def test_a_tool_call_that_is_held_until_it_is_complete_can_be_taken_back() -> None:
    encoder = Encoder(stream_tools=False)
    feed(encoder, START, opened("tool_use", name="look"), input_('{"a": '))
    assert encoder.take() == b""
    feed(encoder, START, opened(), text("text instead"), STOP, END)
    encoder.end(None)
    assert texts(read(encoder)) == "text instead"
