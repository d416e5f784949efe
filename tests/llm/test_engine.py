import asyncio
from dataclasses import replace
from typing import Any

import pytest

from prodkit import InvalidError, LlmError, llm
from prodkit.testing import virtual_time

SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"
P: dict[str, Any] = {"max_tokens": 100, "messages": [{"role": "user", "content": "oi"}]}


class Elsewhere:
    name = "elsewhere"


def test_a_model_is_found_by_name_and_label_and_an_unknown_one_is_named(faked: Any) -> None:
    client, _ = faked(models=(SONNET, llm.Model(HAIKU, label="small")))
    engine = client._engine
    assert [engine.start(name) for name in (SONNET, HAIKU, "small")] == [0, 1, 1]
    for unknown in ("claude-9", ["a list"]):
        with pytest.raises(InvalidError, match="this client was made for claude-sonnet-5-5, small"):
            engine.start(unknown)


def test_other_options_share_the_state(faked: Any) -> None:
    engine = faked()[0]._engine
    other = engine.with_options(attempts=1)
    assert (other.options, engine.options.attempts) == (replace(engine.options, attempts=1), 3)
    assert other.states is engine.states
    assert other.slots is engine.slots
    assert other.lifetime is engine.lifetime


def test_a_model_is_not_waited_for_long_while_another_provider_is_left(faked: Any) -> None:
    far = llm.Model(SONNET, provider=Elsewhere())  # type: ignore[arg-type]
    engine = llm.Client("k", models=(SONNET, far), max_model_wait=20)._engine
    engine.connect(Elsewhere())  # type: ignore[arg-type]
    assert engine.max_waits == (1.0, 20)
    assert engine.elsewhere == {0: 1}
    assert faked(max_model_wait=20)[0]._engine.max_waits == (20, 20)


def test_closing_ends_waits_and_exchanges_in_flight(faked: Any) -> None:
    client, _ = faked(529, 100.0, models=(SONNET,), timeout=500)

    @virtual_time
    async def run() -> None:
        waiting, sending = (asyncio.ensure_future(client.create(**P)) for _ in range(2))
        await asyncio.sleep(0.5)
        client._engine.close()
        for call in (waiting, sending):
            with pytest.raises(LlmError) as raised:
                await call
            assert raised.value.code == "closed"
        assert asyncio.get_running_loop().time() < 5
        with pytest.raises(RuntimeError, match="closed"):
            await client.create(**P)

    run()


def test_cancelling_a_caller_in_its_wait_is_no_closing(faked: Any) -> None:
    engine = faked()[0]._engine

    @virtual_time
    async def run() -> None:
        task = asyncio.ensure_future(engine.sleep(60))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engine.lifetime.sleeping == set()

    run()


def test_health_is_degraded_for_one_open_breaker_and_down_for_all(faked: Any) -> None:
    client, _ = faked()

    @virtual_time
    async def run() -> None:
        assert (await client.check()).status == "up"
        for status, model in (("degraded", SONNET), ("down", HAIKU)):
            client.breakers[model].isolate()
            result = await client.check()
            assert result.status == status
            assert model in result.reason
        assert result.details["in_flight"] == 0

    run()
