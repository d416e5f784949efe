"""A whole answer over a provider without a network, on virtual time."""

import asyncio
from typing import Any

import pytest

from prodkit import LlmError
from prodkit.llm.completion import count_of
from prodkit.testing import virtual_time

P: dict[str, Any] = {"max_tokens": 100, "messages": [{"role": "user", "content": "oi"}]}
MESSAGE = {"content": [{"type": "text", "text": "sim"}], "stop_reason": "end_turn", "usage": {}}


class Broken:
    """A body that is no JSON."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.headers: dict[str, str] = {}

    async def body(self) -> bytes:
        return b"<html>gateway</html>"


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        ([1, 2], "message"),
        ({"content": "text"}, "message"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, "overloaded_error"),
    ],
)
def test_a_status_of_200_alone_is_no_answer(faked: Any, reply: Any, body: Any, error_type: str) -> None:
    client, _ = faked(reply(200, {}, body), 200)
    answer = virtual_time(client.create(**P))
    assert answer.text == "sim"
    assert [each.error_type for each in answer.attempts] == [error_type, ""]


def test_a_page_of_a_gateway_is_a_bad_response(faked: Any, reply: Any) -> None:
    broken = reply(200, {}, None)
    broken.body = Broken().body
    client, _ = faked(broken, 200)
    answer = virtual_time(client.create(**P))
    assert [each.outcome for each in answer.attempts] == ["bad_response", "ok"]


def test_an_attempt_has_its_own_limit_below_that_of_the_call(faked: Any) -> None:
    client, wire = faked(9.0, 200, attempt_timeout=2.0)
    answer = virtual_time(client.create(**P))
    assert [each.outcome for each in answer.attempts] == ["attempt_timeout", "ok"]
    assert [at for at, _ in wire.sent] == [0, 3]


def test_the_limit_of_the_call_ends_it(faked: Any) -> None:
    client, _ = faked(9.0)

    @virtual_time
    async def run() -> None:
        with pytest.raises(LlmError) as raised:
            await client.create(timeout=2, **P)
        assert raised.value.code == "timeout"
        assert asyncio.get_running_loop().time() == 2

    run()


def test_a_cancelled_call_gives_its_slot_back(faked: Any) -> None:
    client, _ = faked(9.0, 200, concurrency=1)

    @virtual_time
    async def run() -> None:
        task = asyncio.ensure_future(client.create(**P))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.create(**P)).text == "sim"

    run()


def test_a_refusal_goes_to_the_next_model_only_when_asked(faked: Any, reply: Any) -> None:
    refused = {**MESSAGE, "stop_reason": "refusal"}
    client, _ = faked(reply(200, {}, refused), 200)
    assert virtual_time(client.create(**P)).stop_reason == "refusal"
    client, wire = faked(reply(200, {}, refused), 200, fallback_on_refusal=True)
    assert virtual_time(client.create(**P)).fell_back
    assert len(wire.sent) == 2


def test_a_count_is_a_whole_number() -> None:
    assert count_of({"input_tokens": 12}) == 12
    assert count_of({"input_tokens": "12"}) is None
    assert count_of({}) is None
