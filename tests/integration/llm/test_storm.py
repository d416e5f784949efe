"""The big numbers: many calls, many faults, nothing lost and nothing left."""

import asyncio
import contextlib
import gc
import random
from typing import Any

import pytest

from prodkit import LlmError, llm
from prodkit.testing.anthropic import Simulator

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FAULTS = ["miderr", "midrst", "mideof", "midclean", "badsse", "stall", "pingstall"]


@pytest.mark.parametrize(
    ("continuation", "seed"), [("anchor", 7), ("anchor", 2026), ("exact", 7), ("restart", 2026)]
)
async def test_500_streams_of_which_30_percent_break_all_end_whole(
    simulator: Simulator, make: Any, log: Any, seed: int, continuation: str
) -> None:
    chance = random.Random(seed)
    simulator.continuation(continuation)
    simulator.script(
        *(
            {"kind": _kind(chance.choice(FAULTS)), "after": chance.randrange(0, 120), "words": 120}
            if chance.random() < 0.3
            else {"words": 120}
            for _ in range(500)
        )
    )
    simulator.always({"words": 120})
    outcomes: list[bool] = []
    places = asyncio.Semaphore(50)

    async def one(client: llm.Client, number: int) -> None:
        question = f"pergunta {number}"
        want = _expected(question)
        got = ""
        async with places:
            try:
                async with client.stream(
                    max_tokens=4000, messages=[{"role": "user", "content": question}]
                ) as stream:
                    async for text in stream.text:
                        got += text
                assert stream.answer.text == got
                assert stream.answer.stop_reason == "end_turn"
                outcomes.append(got == want)
            except LlmError:
                outcomes.append(False)
            assert want.startswith(got), "a failed stream must not have delivered anything wrong"

    async with make(stall_timeout=1.5, failures=1000) as client:
        await asyncio.gather(*(one(client, number) for number in range(500)))
    assert sum(outcomes) / len(outcomes) >= 0.995, f"seed {seed}: {sum(outcomes)} of {len(outcomes)}"
    seen = await asyncio.to_thread(simulator.wait_until_idle, sockets=0)
    assert seen.requests == len(log.attempts)
    assert len(log.finished) == 500


def _kind(short: str) -> str:
    from prodkit.testing.anthropic import Behaviour

    return Behaviour.of(short).kind


def _expected(question: str) -> str:
    from prodkit.testing.anthropic.answers import numbered

    return numbered(120, question)


async def test_200_calls_over_a_pool_of_50_all_get_their_answer(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any]
) -> None:
    simulator.always({"seconds": 0.05})
    async with make(concurrency=50) as client:
        answers = await asyncio.gather(*(client.create(**params) for _ in range(200)))
        assert all(answer.text for answer in answers)
        assert client.breakers["claude-sonnet-5-5"].state == "closed"
    seen = await asyncio.to_thread(simulator.wait_until_idle, sockets=0)
    assert (seen.requests, len(log.attempts)) == (200, 200)
    assert seen.peak_sockets <= 50


async def test_1000_calls_with_random_cancel_break_and_abandon_leave_nothing(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any]
) -> None:
    chance = random.Random(11)
    simulator.always({"words": 30, "delay": 0.002})

    async def whole(client: llm.Client) -> None:
        await client.create(**params)

    async def read(client: llm.Client) -> None:
        async with client.stream(**params) as stream:
            async for _ in stream.text:
                pass

    async def leave(client: llm.Client) -> None:
        async with client.stream(**params) as stream:
            async for _ in stream.text:
                break

    async def abandon(client: llm.Client) -> None:
        stream = client.stream(**params)
        await stream.read()
        del stream

    async def never_read(client: llm.Client) -> None:
        client.stream(**params)

    async def one(client: llm.Client) -> None:
        kind = chance.choice([whole, read, leave, abandon, never_read])
        task = asyncio.ensure_future(kind(client))
        if chance.random() < 0.4:
            await asyncio.sleep(chance.random() * 0.1)
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async with make(concurrency=50, max_queue=2000, timeout=120) as client:
        before = asyncio.all_tasks()
        await asyncio.gather(*(one(client) for _ in range(1000)))
        gc.collect()
        await asyncio.sleep(0.1)
        assert client._engine.slots.inflight == 0
        assert client._engine.slots.waiting == 0
        assert asyncio.all_tasks() - before == set()
        assert client.breakers["claude-sonnet-5-5"].state == "closed"
        kept = await asyncio.to_thread(simulator.wait_until_idle)
        assert kept.open_sockets <= 50  # what the pool keeps alive
        answer = await client.create(**params)
        assert answer.text
    seen = await asyncio.to_thread(simulator.wait_until_idle, sockets=0)
    # A request that was cancelled before it was on the wire is logged and was never seen.
    cancelled = sum(attempt.outcome == "cancelled" for attempt in log.attempts)
    assert len(log.attempts) - cancelled <= seen.requests <= len(log.attempts)
