"""Compare the CPU of a call of the LLM client with the bare SDK, in one run and one process.

    python -m benchmarks.llm_overhead

The server is the simulator in a process of its own. Both sides take turns in short rounds and the median of the
rounds counts, so that a busy machine disturbs them alike.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import anthropic

from prodkit import llm
from prodkit.testing.anthropic import Simulator

PARAMS = {
    "max_tokens": 4096,
    "messages": [{"role": "user", "content": "Vale a pena abrir uma segunda loja?"}],
}
MODEL = "claude-sonnet-5-5"


async def measure(
    sides: dict[str, Callable[[], Awaitable[object]]], rounds: int, calls: int
) -> dict[str, float]:
    """The median CPU time of one call, in microseconds, for each side."""
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        for _ in range(5):
            await side()
    for _ in range(rounds):
        for name, side in sides.items():
            begun = time.process_time()
            for _ in range(calls):
                await side()
            spent[name].append((time.process_time() - begun) / calls * 1e6)
    return {name: statistics.median(values) for name, values in spent.items()}


async def main(rounds: int) -> None:
    with Simulator() as simulator:
        simulator.always({"words": 200})
        bare = anthropic.AsyncAnthropic(api_key="k", base_url=simulator.url, max_retries=0)
        claude = llm.Client("k", base_url=simulator.url, models=(MODEL,))

        async def sdk_create() -> None:
            await bare.messages.create(model=MODEL, **PARAMS)

        async def our_create() -> None:
            await claude.create(**PARAMS)

        async def our_create_raw() -> None:
            _ = (await claude.create(**PARAMS)).raw

        async def sdk_events() -> None:
            async for _ in await bare.messages.create(model=MODEL, stream=True, **PARAMS):
                pass

        async def sdk_helper() -> None:
            async with bare.messages.stream(model=MODEL, **PARAMS) as stream:
                async for _ in stream.text_stream:
                    pass

        async def our_stream() -> None:
            async with claude.stream(**PARAMS) as stream:
                async for _ in stream.text:
                    pass

        async with claude:
            create = await measure({"sdk": sdk_create, "ours": our_create, "raw": our_create_raw}, rounds, 40)
            stream = await measure(
                {"events": sdk_events, "helper": sdk_helper, "ours": our_stream}, rounds, 8
            )
        await bare.close()
    print(f"create                      SDK {create['sdk']:8.0f} us   prodkit {create['ours']:8.0f} us")
    print(
        f"  ratio {create['ours'] / create['sdk']:.2f} (goal 1.06);  with .raw {create['raw'] / create['sdk']:.2f}"
    )
    print(
        f"stream of 200 deltas   stream=True {stream['events']:8.0f} us   .stream() {stream['helper']:8.0f} us   "
        f"prodkit {stream['ours']:8.0f} us"
    )
    print(
        f"  ratio {stream['ours'] / stream['events']:.2f} of stream=True (goal 1.08), "
        f"{stream['ours'] / stream['helper']:.2f} of the helper (goal 0.65)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    asyncio.run(main(parser.parse_args().rounds))
