"""One answer as it arrives, over a provider without a network, on virtual time."""

import asyncio
import json
from typing import Any

import pytest

from prodkit import LlmError
from prodkit.testing import virtual_time

SONNET = "claude-sonnet-5-5"
P: dict[str, Any] = {"max_tokens": 100, "messages": [{"role": "user", "content": "oi"}]}


def streamed(reply: Any, *parts: Any, end: bool = True) -> Any:
    """A response that streams `parts`: texts, seconds to wait, or an error of the connection."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    body: list[Any] = [
        event(type="message_start", message={"content": [], "usage": usage}),
        event(type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
    ]
    for part in parts:
        if isinstance(part, str):
            delta = {"type": "text_delta", "text": part}
            body.append(event(type="content_block_delta", index=0, delta=delta))
        else:
            body.append(part)
    if end:
        body += [
            event(type="content_block_stop", index=0),
            event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9}),
            event(type="message_stop"),
        ]
    return reply(200, {"content-type": "text/event-stream"}, body)


def event(**data: Any) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def test_text_arrives_in_pieces_and_the_answer_is_whole(faked: Any, reply: Any) -> None:
    client, _ = faked(streamed(reply, "um ", 2.0, "dois"))

    @virtual_time
    async def run() -> None:
        seen: list[tuple[float, str]] = []
        async with client.stream(**P) as stream:
            async for text in stream.text:
                seen.append((asyncio.get_running_loop().time(), text))
        assert "".join(text for _, text in seen) == "um dois"
        assert seen[0][0] == 0
        assert seen[-1][0] == 2
        assert stream.answer.text == "um dois"
        assert stream.answer.usage.output_tokens == 9

    run()


def test_nothing_is_sent_before_it_is_read_and_leaving_closes_the_connection(faked: Any, reply: Any) -> None:
    response = streamed(reply, "um ", 60.0, "dois")
    client, wire = faked(response)

    @virtual_time
    async def run() -> None:
        async with client.stream(**P) as stream:
            assert wire.sent == []
            async for _ in stream.text:
                break
        assert response.closed
        assert asyncio.get_running_loop().time() < 1
        assert (await client.check()).details["in_flight"] == 0

    run()


def test_an_answer_that_breaks_off_goes_on_and_each_character_comes_once(faked: Any, reply: Any) -> None:
    client, wire = faked(
        streamed(reply, "um dois ", end=False), streamed(reply, "três quatro"), models=(SONNET,)
    )
    answer = virtual_time(client.stream(**P).final())
    assert answer.text == "um dois três quatro"
    assert [each.outcome for each in answer.attempts] == ["truncated", "ok"]
    assert answer.attempts[1].resumed
    assert len(wire.sent) == 2


def test_a_stream_that_stalls_is_given_up_and_the_error_holds_what_had_arrived(
    faked: Any, reply: Any
) -> None:
    client, _ = faked(
        streamed(reply, "um dois ", 600.0, "três"), models=(SONNET,), attempts=1, stall_timeout=5.0
    )

    @virtual_time
    async def run() -> None:
        stream = client.stream(**P)
        with pytest.raises(LlmError) as raised:
            await stream.final()
        assert raised.value.code == "stall_timeout"
        assert raised.value.partial is not None
        assert raised.value.partial["content"][0]["text"].strip() == "um dois"
        await stream.aclose()

    run()


def test_a_stored_part_is_not_delivered_again(faked: Any, reply: Any) -> None:
    client, _ = faked(streamed(reply, " três quatro"))

    @virtual_time
    async def run() -> None:
        pieces = []
        async with client.stream(resume="um dois", **P) as stream:
            async for text in stream.text:
                pieces.append(text)
        assert "".join(pieces) == " três quatro"
        assert stream.answer.text == "um dois três quatro"

    run()
