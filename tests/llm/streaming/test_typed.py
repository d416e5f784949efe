from typing import Any

from prodkit.llm.results import Attempt, Continuation, Usage
from prodkit.llm.streaming.typed import (
    AttemptEvent,
    BlockEvent,
    CitationEvent,
    ContinuedEvent,
    OtherEvent,
    StreamEvent,
    TextEvent,
    ThinkingEvent,
    ToolInputEvent,
    TypedEvents,
    UsageEvent,
)

Raw = dict[str, Any]


def start(kind: str, **more: Any) -> Raw:
    return {"type": "content_block_start", "index": 0, "content_block": {"type": kind, **more}}


def delta(kind: str, **more: Any) -> Raw:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **more}}


STOP = {"type": "content_block_stop", "index": 0}


def typed(*events: Raw | tuple[Raw, str], blocks: list[Raw] | None = None) -> list[StreamEvent]:
    made = TypedEvents()
    for each in events:
        event, text = each if isinstance(each, tuple) else (each, "")
        made.feed(event, text, blocks or [], [])
    return made.take([])


def test_text_is_what_is_delivered_not_what_arrived() -> None:
    held = delta("text_delta", text="repeated words and new")
    assert typed(start("text"), (held, "new"), (held, "")) == [TextEvent("new")]


def test_thinking_tool_input_and_citations_have_events_of_their_own() -> None:
    found = typed(
        start("thinking"),
        delta("thinking_delta", thinking="hm"),
        delta("signature_delta", signature="s"),
        STOP,
        start("tool_use", id="t1", name="look", input={}),
        delta("input_json_delta", partial_json='{"a"'),
        STOP,
        delta("citations_delta", citation={"page": 3}),
    )
    assert found == [
        ThinkingEvent("hm"),
        ToolInputEvent("t1", "look", ""),
        ToolInputEvent("t1", "look", '{"a"'),
        CitationEvent({"page": 3}),
    ]


def test_a_complete_block_follows_its_end() -> None:
    block = {"type": "text", "text": "sim"}
    assert typed(STOP, blocks=[{"type": "thinking"}, block]) == [BlockEvent(block)]


def test_usage_comes_with_the_start_and_the_end() -> None:
    found = typed(
        {"type": "message_start", "message": {"usage": {"input_tokens": 3}}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}},
        {"type": "message_delta", "delta": {}},
        {"type": "message_stop"},
    )
    assert found == [UsageEvent(Usage(3)), UsageEvent(Usage(0, 9))]


def test_kinds_that_are_not_known_are_handed_on_as_they_came() -> None:
    news, piece = {"type": "message_news", "a": 1}, delta("colour_delta", colour="red")
    stray = delta("input_json_delta", partial_json="{")  # outside of a tool call
    assert typed(news, piece, stray) == [OtherEvent(news), OtherEvent(piece), OtherEvent(stray)]


def test_a_joint_stands_before_the_text_of_the_next_attempt_and_comes_once() -> None:
    joint = Continuation(at=3, kind="overlap", removed=5, confidence=0.9)
    made = TypedEvents()
    made.feed(delta("text_delta"), "one", [], [])
    made.feed(delta("text_delta"), "two", [], [joint])
    made.feed(delta("text_delta"), "three", [], [joint])
    assert made.take([]) == [TextEvent("one"), ContinuedEvent(joint), TextEvent("two"), TextEvent("three")]


def test_each_attempt_is_reported_once_behind_its_events() -> None:
    first, second = (Attempt(number=number, model="m", outcome="ok") for number in (1, 2))
    made = TypedEvents()
    made.text("held")
    assert made.take([first]) == [TextEvent("held"), AttemptEvent(first)]
    assert made.take([first, second]) == [AttemptEvent(second)]
    assert made.take([first, second]) == []
