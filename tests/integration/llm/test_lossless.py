"""Nothing is lost: each field, block and delta of a stream arrives, through both faces.

``PRODKIT_SDK_FIXTURES`` may name a folder with further streams (the SDK's own ``tests/lib/streaming/fixtures``).
"""

import json
import os
from pathlib import Path
from typing import Any

import anthropic
import pytest

from prodkit import llm
from prodkit.testing.anthropic import Simulator

pytestmark = pytest.mark.integration

SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"


def _sse(*events: dict[str, Any], blank: bool = True) -> str:
    encoded = "\n\n".join(f"event: {event['type']}\ndata: {json.dumps(event)}" for event in events)
    return encoded + "\n\n" if blank else encoded


def _start(**usage: Any) -> dict[str, Any]:
    return {
        "type": "message_start",
        "message": {
            "id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": SONNET, "stop_reason": None,
            "stop_sequence": None, "stop_details": None, "container": None,
            "usage": {
                "input_tokens": 30, "output_tokens": 1, "service_tier": "standard",
                "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 0}, **usage,
            },
        },
    }  # fmt: skip


def _block(
    index: int, content: dict[str, Any], *deltas: dict[str, Any], stop: bool = True
) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"type": "content_block_start", "index": index, "content_block": content}]
    events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [*events, {"type": "content_block_stop", "index": index}] if stop else events


def _text(index: int, *pieces: str) -> list[dict[str, Any]]:
    return _block(
        index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces)
    )


def _json(*pieces: str) -> list[dict[str, Any]]:
    return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


def _end(
    reason: str, *, stop: bool = True, usage: dict[str, Any] | None = None, **more: Any
) -> list[dict[str, Any]]:
    delta = {"stop_reason": reason, "stop_sequence": None, **more.pop("delta", {})}
    event = {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 8, **(usage or {})}, **more}
    return [event, {"type": "message_stop"}] if stop else [event]


TOOL = {"type": "tool_use", "id": "toolu_1", "name": "pay", "input": {}}
STREAMS: dict[str, list[dict[str, Any]]] = {
    "basic": [_start(), *_text(0, "Hello", " there", "!"), *_end("end_turn")],
    "tool": [_start(), *_text(0, "I'll ", "look."), *_block(1, TOOL, *_json("", '{"a": "b', 'c", "n": [1', ", 2]}")),
             *_end("tool_use")],
    "refusal": [_start(), *_text(0), *_end("refusal", delta={
        "stop_details": {"type": "refusal", "category": "cyber", "explanation": "Refused."}})],
    "usage": [_start(), *_text(0, "Hi"), *_end("end_turn", usage={
        "input_tokens": 31, "cache_read_input_tokens": 4, "server_tool_use": {"web_search_requests": 2},
        "output_tokens_details": {"thinking_tokens": 5}, "iterations": [{"type": "message", "input_tokens": 9}],
        "fallback_credit": {"status": {"type": "redeemed"}}})],
    "container": [_start(), *_text(0, "Hi"), *_end("end_turn", delta={
        "container": {"id": "container_1", "expires_at": "2026-11-25T00:00:00Z"}},
        context_management={"applied_edits": [{"type": "clear_tool_uses_20250919", "cleared_tool_uses": 3}]})],
    "compaction": [_start(), *_block(0, {"type": "compaction", "content": None, "encrypted_content": None}, {
        "type": "compaction_delta", "content": "Summary.", "encrypted_content": "Epw"}), *_text(1, "Hello"),
        *_end("end_turn")],
    "fallback": [_start(), *_block(0, {"type": "fallback", "from": {"model": SONNET}, "to": {"model": "claude-x"}}),
                 *_text(1, "Hello"), *_end("end_turn")],
    "thinking": [_start(), *_block(0, {"type": "thinking", "thinking": "", "signature": ""},
                                   {"type": "thinking_delta", "thinking": "Let me"},
                                   {"type": "thinking_delta", "thinking": " see"},
                                   {"type": "signature_delta", "signature": "c2ln"}),
                 *_block(1, {"type": "redacted_thinking", "data": "xyz"}), *_text(2, "Yes. "), *_end("end_turn")],
    "citations": [_start(), *_block(0, {"type": "text", "text": "", "citations": []},
                                    {"type": "text_delta", "text": "It is blue."},
                                    {"type": "citations_delta", "citation": {
                                        "type": "char_location", "cited_text": "blue", "document_index": 0,
                                        "document_title": "Sky", "start_char_index": 0, "end_char_index": 4}}),
                  *_end("end_turn")],
    "server_tool": [_start(), *_block(0, {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}},
                                      *_json("", '{"query": "ecl', 'ipse"}')),
                    *_block(1, {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}),
                    *_text(2, "Found."), *_end("end_turn")],
    "pause": [_start(), *_text(0, "Wait"), *_end("pause_turn")],
    "open_tool": [_start(), *_text(0, "Let me pay."), *_block(1, TOOL, *_json('{"to": "Ana", "li', 'st": ["x", "'),
                                                             stop=False), *_end("max_tokens")],
    "half_tool": [_start(), *_text(0, "Let me pay."), *_block(1, TOOL, *_json('{"to": "An')), *_end("max_tokens")],
    "open_text": [_start(), *_block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Once upon"},
                                    stop=False), *_end("max_tokens")],
    "two_texts": [_start(), *_text(0, "One.\n\n"), *_text(1, "  Two. "), *_end("end_turn")],
}  # fmt: skip
FIXTURES = Path(os.environ.get("PRODKIT_SDK_FIXTURES", "/nonexistent"))
FILES = sorted([*FIXTURES.glob("*response.txt"), *FIXTURES.glob("*.sse")])
SERVED = {
    **{name: _sse(*events) for name, events in STREAMS.items()},
    **{f.stem: f.read_text() for f in FILES},
}


def _bare(simulator: Simulator, *middleware: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(api_key="k", base_url=simulator.url, max_retries=0, middleware=middleware)


async def _final(client: anthropic.AsyncAnthropic, params: dict[str, Any], *, beta: bool) -> dict[str, Any]:
    messages: Any = client.beta.messages if beta else client.messages
    async with messages.stream(model=SONNET, **params) as stream:
        message = await stream.get_final_message()
    found: dict[str, Any] = message.to_dict(mode="json", warnings=False)
    return found


@pytest.mark.parametrize("beta", [False, True])
@pytest.mark.parametrize("name", SERVED)
async def test_the_final_message_is_the_same_with_and_without_the_kit(
    simulator: Simulator, params: dict[str, Any], name: str, beta: bool
) -> None:
    simulator.always({"kind": "sse", "sse": SERVED[name]})
    async with _bare(simulator) as plain:
        expected = await _final(plain, params, beta=beta)
    async with _bare(simulator, llm.ResilienceMiddleware()) as guarded:
        assert await _final(guarded, params, beta=beta) == expected
    async with llm.Client("k", base_url=simulator.url) as client, client.stream(**params) as stream:
        answer = await stream.final()
    found = dict(answer.message)
    if not beta:
        return  # the SDK's other helper does not know every delta: it loses what the client keeps
    for field, value in expected.items():
        if field == "usage":
            assert {**value, **found["usage"]} == found["usage"], (
                "each count of the SDK's, and what it leaves out"
            )
        elif field != "content":
            assert found.get(field) == value, field
    assert [_trimmed(block) for block in found["content"]] == [
        _trimmed(block) for block in expected["content"]
    ]
    assert [attempt.outcome for attempt in answer.attempts] == ["ok"]
    assert simulator.counters.requests == 3


def _trimmed(block: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name != "parsed_output"}


async def test_events_blocks_and_fields_of_the_future_pass_the_middleware(
    simulator: Simulator, params: dict[str, Any]
) -> None:
    events = [
        _start(future=7),
        {"type": "aurora", "colour": "green"},
        *_block(
            0, {"type": "hologram", "shape": "cube", "spin": 0}, {"type": "spin_delta", "spin": 7, "x": [1]}
        ),
        *_block(
            1,
            {"type": "text", "text": "", "mood": "calm"},
            {"type": "text_delta", "text": "Hi", "tone": "soft"},
        ),
        *_end("end_turn", stop_mood="happy", usage={"photons": 3}),
    ]
    simulator.always({"kind": "sse", "sse": _sse(*events)})

    async def raw(client: anthropic.AsyncAnthropic) -> list[dict[str, Any]]:
        async with client.messages.with_streaming_response.create(
            model=SONNET, stream=True, **params
        ) as response:
            lines = [line async for line in response.iter_lines()]
        return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]

    async with _bare(simulator) as plain, _bare(simulator, llm.ResilienceMiddleware()) as guarded:
        assert await raw(guarded) == await raw(plain)
    async with llm.Client("k", base_url=simulator.url) as client:
        answer = await client.stream(**params).final()
    assert answer.content[0] == {"type": "hologram", "shape": "cube", "spin": 7, "x": [1]}
    assert answer.message["stop_mood"] == "happy"
    assert answer.message["usage"]["photons"] == 3


@pytest.mark.parametrize("name", ["open_tool", "half_tool"])
async def test_max_tokens_inside_a_tool_call_is_one_request_and_a_truncated_answer(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any], name: str
) -> None:
    simulator.always({"kind": "sse", "sse": _sse(*STREAMS[name])}, model=SONNET)
    async with make(failures=1) as client:
        for _ in range(3):
            answer = await client.stream(**params).final()
            assert (answer.text, answer.truncated, len(answer.attempts)) == ("Let me pay.", True, 1)
            assert answer.content[1]["name"] == "pay"
            assert answer.tool_calls == [], "an input that was cut must not be executed"
        assert client.breakers[SONNET].state == "closed"
    assert simulator.counters.by_model == {SONNET: 3}


@pytest.mark.parametrize("name", ["basic", "tool", "usage"])
@pytest.mark.parametrize("cut", ["before message_stop", "without the last blank line", "error at the end"])
async def test_an_answer_whose_stop_reason_has_arrived_is_whole(
    simulator: Simulator, make: Any, params: dict[str, Any], name: str, cut: str
) -> None:
    events = STREAMS[name]
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    body = {
        "before message_stop": _sse(*events[:-1]),
        "without the last blank line": _sse(*events[:-1], blank=False),
        "error at the end": _sse(*events[:-1], overloaded),
    }[cut]
    simulator.always({"kind": "sse", "sse": body}, model=SONNET)
    async with make(failures=1) as client:
        for _ in range(3):
            answer = await client.stream(**params).final()
            assert [attempt.outcome for attempt in answer.attempts] == ["ok"]
            assert answer.stop_reason == events[-2]["delta"]["stop_reason"]
        assert client.breakers[SONNET].state == "closed"
    async with _bare(simulator, llm.ResilienceMiddleware()) as guarded:
        message = await _final(guarded, params, beta=False)
    assert message["stop_reason"] == answer.stop_reason
    assert simulator.counters.by_model == {SONNET: 4}


async def test_a_stop_reason_inside_an_open_block_is_no_end(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    events = [_start(), *_block(0, TOOL, *_json('{"a": 1}'), stop=False), *_end("tool_use")]
    simulator.script({"kind": "sse", "sse": _sse(*events)})
    async with make() as client:
        answer = await client.stream(**params).final()
    assert [attempt.outcome for attempt in answer.attempts] == ["bad_response", "ok"]
