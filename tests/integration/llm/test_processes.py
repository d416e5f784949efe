"""Several processes that share the breakers of their models on Redis."""

import asyncio
import contextlib
import json
import sys
from typing import Any

import pytest

from prodkit.testing.anthropic import Simulator

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WORKER = """
import asyncio, json, sys
from prodkit import LlmError, llm
from prodkit.redis import RedisLink
from prodkit.redis.shared_breakers import SharedBreakers

async def main(url, redis_url):
    link = RedisLink(redis_url, timeout=10, connect_timeout=10)
    shared = SharedBreakers(link)
    client = llm.Client("k", base_url=url, models=("claude-sonnet-5-5",), attempts=1, open_for=3, shared=shared)
    async with link, shared, client:
        await asyncio.sleep(0.5)
        print(json.dumps("ready"), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                await client.create(max_tokens=100, messages=[{"role": "user", "content": "oi"}])
                told = "ok"
            except LlmError as error:
                told = error.code
            print(json.dumps(told), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


class Worker:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def told(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(await asyncio.wait_for(self.process.stdout.readline(), 60))

    async def call(self) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(b"call\n")
        await self.process.stdin.drain()
        return await self.told()

    async def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            await self.process.wait()


async def test_four_processes_open_together_and_send_one_probe(
    simulator: Simulator, redis_server: Any
) -> None:
    workers = [
        Worker(
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", WORKER, simulator.url, redis_server.url,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )
        )
        for _ in range(4)
    ]  # fmt: skip
    try:
        assert [await worker.told() for worker in workers] == ["ready"] * 4
        simulator.always("529")
        assert [await workers[0].call() for _ in range(5)] == ["overloaded"] * 5
        await asyncio.sleep(0.5)
        assert await asyncio.gather(*(worker.call() for worker in workers)) == ["circuit_open"] * 4
        assert simulator.counters.requests == 5, "what one has learned the others need not try"
        simulator.always({"seconds": 0.7})
        await asyncio.sleep(2.6)
        outcomes = await asyncio.gather(*(worker.call() for worker in workers))
        assert sorted(outcomes) == ["circuit_open"] * 3 + ["ok"]
        assert simulator.counters.requests == 6, "one probe for all of them"
        simulator.always("ok")
        await asyncio.sleep(0.5)
        assert await asyncio.gather(*(worker.call() for worker in workers)) == ["ok"] * 4
    finally:
        for worker in workers:
            await worker.stop()
