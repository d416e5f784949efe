"""Replies, their events, and the requests that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from prodkit.testing.anthropic.answers import answer_function
from prodkit.testing.anthropic.behaviour import Behaviour
from prodkit.testing.anthropic.reply import Reply, ReplyError, compose, count_input, events, sse, validate

BODY: dict[str, Any] = {
    "model": "m",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "Hello?"}],
}


def composed(body: dict[str, Any] = BODY, /, **behaviour: Any) -> Reply:
    answers = answer_function("words")
    return compose(body, Behaviour(**behaviour), answers, number=1, continuation="exact")


def test_a_whole_reply_has_the_shape_of_a_message() -> None:
    body = composed(text="Hi.").body()
    assert body["type"] == "message"
    assert body["content"] == [{"type": "text", "text": "Hi."}]
    assert body["stop_reason"] == "end_turn"
    assert body["usage"]["input_tokens"] == count_input(BODY) > 0
    assert body["usage"]["output_tokens"] >= 1


def test_max_tokens_cuts_the_text() -> None:
    reply = composed({**BODY, "max_tokens": 2}, words=50)
    assert reply.stop_reason == "max_tokens"
    assert len(reply.content[0]["text"]) == 8


def test_a_tool_call_and_a_refusal_have_their_stop_reasons() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    assert composed(content=[call]).stop_reason == "tool_use"
    refused = composed(kind="refusal")
    assert (refused.content, refused.stop_reason) == ([], "refusal")
    assert composed(text="x", stop_reason="pause_turn").stop_reason == "pause_turn"


def test_a_cut_answer_is_continued_where_it_ends() -> None:
    whole = composed(words=30).content[0]["text"]
    said, request = whole[:90], f"Continue after: {whole[60:90]}"
    messages = [
        *BODY["messages"],
        {"role": "assistant", "content": said},
        {"role": "user", "content": request},
    ]
    assert said + composed({**BODY, "messages": messages}, words=30).content[0]["text"] == whole


def test_a_new_question_after_a_whole_answer_is_answered_anew() -> None:
    whole = composed().content[0]["text"]
    messages = [
        *BODY["messages"],
        {"role": "assistant", "content": whole},
        {"role": "user", "content": "And?"},
    ]
    assert composed({**BODY, "messages": messages}).content[0]["text"] != whole


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": "some  words\n here"},
        {"type": "thinking", "thinking": "a thought", "signature": "s"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1, "ü"]}},
        {"type": "redacted_thinking", "data": "xx"},
    ],
)
def test_the_deltas_of_a_block_make_the_block(block: dict[str, Any]) -> None:
    found = list(events(Reply("msg", "m", [block], "end_turn", 1)))
    names = [name for name, _ in found]
    assert names[0] == "message_start"
    assert names[-2:] == ["message_delta", "message_stop"]
    assert found[0][1]["message"]["content"] == []
    built = dict(next(data for name, data in found if name == "content_block_start")["content_block"])
    for delta in (data["delta"] for name, data in found if name == "content_block_delta"):
        if delta["type"] == "input_json_delta":
            built["json"] = built.get("json", "") + delta["partial_json"]
        else:
            field = delta["type"].removesuffix("_delta")
            built[field] = built.get(field, "") + delta[field]
    if "json" in built:
        built["input"] = __import__("json").loads(built.pop("json"))
    assert built == block


def test_an_event_in_wire_form() -> None:
    assert sse("ping", {"type": "ping"}) == b'event: ping\ndata: {"type": "ping"}\n\n'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": []}, "at least one"),
        ({"messages": [{"role": "system", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, "non-empty"),
        ({"messages": [*BODY["messages"], {"role": "assistant", "content": "x"}]}, "prefill"),
    ],
)
def test_a_body_that_the_api_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ReplyError, match=message) as caught:
        validate({**BODY, **change})
    assert caught.value.status == 400


def test_counting_needs_no_limit() -> None:
    body = {name: BODY[name] for name in ("model", "messages")}
    validate(body, counting=True)
    with pytest.raises(ReplyError, match="max_tokens: Field required"):
        validate(body)
    with pytest.raises(ReplyError, match="not valid JSON"):
        validate([])
