"""One message from the events of one or several attempts."""

from typing import Any

import pytest

from prodkit.llm.streaming.assembler import Assembler, MalformedError

START = {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 5}}}


def _open(kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": {"type": kind, **more}}


def _text(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


CLOSE = {"type": "content_block_stop", "index": 0}


@pytest.mark.parametrize(
    "events",
    [
        [_open()],
        [START, START],
        [START, _text("x")],
        [START, _open(), _open()],
        [START, CLOSE],
        [START, _open(), {"type": "message_stop"}],
        [{"type": "message_stop"}],
        [{"type": "message_start", "message": None}],
        [
            START,
            _open("tool_use"),
            {**_text(""), "delta": {"type": "input_json_delta", "partial_json": "{"}},
            CLOSE,
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        ],
    ],
)
def test_events_that_make_no_message_are_refused(events: list[dict[str, Any]]) -> None:
    assembler = Assembler()
    with pytest.raises(MalformedError):
        for event in events:
            assembler.feed(event)


def test_blocks_and_deltas_of_the_future_are_kept() -> None:
    assembler = Assembler()
    for event in (
        START,
        {"type": "an_event_of_the_future"},
        _open("hologram", shape="cube"),
        {**_text(""), "delta": {"type": "spin_delta", "by": 7}},
        CLOSE,
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ):
        assembler.feed(event)
    message = assembler.message(assembler.attempt_usage(failed=False))
    assert message["content"] == [{"type": "hologram", "shape": "cube", "by": 7}]
    assert message["usage"]["output_tokens"] == 2


def test_citations_stay_with_their_text() -> None:
    assembler = Assembler()
    citation = {"type": "char_location", "cited_text": "x"}
    for event in (
        START,
        _open(text=""),
        _text("Sim."),
        {**_text(""), "delta": {"type": "citations_delta", "citation": citation}},
        CLOSE,
    ):
        assembler.feed(event)
    assert assembler.blocks == [{"type": "text", "text": "Sim.", "citations": [citation]}]


def test_what_the_servers_own_tools_found_cannot_be_asked_for_again() -> None:
    assembler = Assembler()
    for event in (START, _open("server_tool_use", id="s", name="web_search"), CLOSE, _open(), _text("Achei")):
        assembler.feed(event)
    assert not assembler.resumable
