import asyncio
import json
from typing import Any

from prodkit.testing import virtual_time

SONNET = "claude-sonnet-5-5"
P: dict[str, Any] = {"max_tokens": 100, "messages": [{"role": "user", "content": "oi"}]}


def streamed(reply: Any, text: str, wait: float) -> Any:
    """A response whose first content comes after `wait` seconds."""

    def event(**data: Any) -> bytes:
        return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()

    usage = {"input_tokens": 1, "output_tokens": 1}
    body: list[Any] = [
        event(type="message_start", message={"content": [], "usage": usage}),
        event(type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
        wait,
        event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": text}),
        event(type="content_block_stop", index=0),
        event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 1}),
        event(type="message_stop"),
    ]
    return reply(200, {"content-type": "text/event-stream"}, body)


def answered(client: Any) -> tuple[Any, float]:
    @virtual_time
    async def run() -> tuple[Any, float]:
        answer = await client.stream(**P).final()
        at = asyncio.get_running_loop().time()
        await asyncio.sleep(1)  # the loser is closed in the background
        assert (await client.check()).details["in_flight"] == 0
        return answer, at

    found: tuple[Any, float] = run()
    return found


def test_the_sooner_of_two_requests_answers_and_the_other_is_closed(faked: Any, reply: Any) -> None:
    slow, quick = streamed(reply, "slow", 60.0), streamed(reply, "quick", 1.0)
    client, wire = faked(slow, quick, models=(SONNET,), hedge_after=2.0, hedge_share=1.0)
    answer, at = answered(client)
    assert answer.text == "quick"
    assert at == 3
    assert [when for when, _ in wire.sent] == [0, 2]
    assert slow.closed
    assert max((each.outcome, each.hedge) for each in answer.attempts) == ("ok", True)


def test_a_first_request_that_answers_in_time_stays_alone(faked: Any, reply: Any) -> None:
    client, wire = faked(streamed(reply, "first", 1.0), models=(SONNET,), hedge_after=2.0, hedge_share=1.0)
    answer, _ = answered(client)
    assert (answer.text, len(wire.sent)) == ("first", 1)


def test_the_slow_request_wins_when_the_second_one_fails(faked: Any, reply: Any) -> None:
    client, _ = faked(streamed(reply, "slow", 5.0), 529, models=(SONNET,), hedge_after=2.0, hedge_share=1.0)
    answer, at = answered(client)
    assert (answer.text, at) == ("slow", 5)
