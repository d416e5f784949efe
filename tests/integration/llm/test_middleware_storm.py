"""Many broken streams under the SDK's own helper."""

import asyncio
import random
from typing import Any

import anthropic
import pytest

from prodkit import llm
from prodkit.testing.anthropic import Behaviour, Simulator
from prodkit.testing.anthropic.answers import numbered

pytestmark = [pytest.mark.integration, pytest.mark.slow]


async def test_150_streams_of_which_every_second_breaks(simulator: Simulator, log: Any) -> None:
    chance = random.Random(3)
    faults = ["miderr", "midrst", "mideof", "midclean", "badsse", "stall", "err1", "529"]
    simulator.script(
        *(
            {"kind": "status", "status": 529}
            if fault == "529"
            else {"kind": Behaviour.of(fault).kind, "after": chance.randrange(0, 60), "words": 60}
            for fault in (chance.choice(["ok", chance.choice(faults)]) for _ in range(150))
        )
    )
    simulator.always({"words": 60})
    middleware = llm.ResilienceMiddleware(backoff=0.01, stall_timeout=1.5, failures=1000, runtime=log.runtime)
    places = asyncio.Semaphore(30)

    async def one(client: anthropic.AsyncAnthropic, number: int) -> bool:
        question = f"pergunta {number}"
        async with (
            places,
            client.messages.stream(
                model="claude-sonnet-5-5", max_tokens=4000, messages=[{"role": "user", "content": question}]
            ) as stream,
        ):
            got = "".join([text async for text in stream.text_stream])
            message = await stream.get_final_message()
        block = message.content[0]
        return (
            got == numbered(60, question) == getattr(block, "text", "") and message.stop_reason == "end_turn"
        )

    async with anthropic.AsyncAnthropic(
        api_key="k", base_url=simulator.url, max_retries=0, middleware=[middleware]
    ) as client:
        assert all(await asyncio.gather(*(one(client, number) for number in range(150))))
    seen = await asyncio.to_thread(simulator.wait_until_idle, sockets=0)
    assert seen.requests == len(log.attempts)
