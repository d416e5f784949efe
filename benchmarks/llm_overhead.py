"""Compare the CPU of a call of the LLM client with the bare SDK, in one run and one process.

    python -m benchmarks.llm_overhead

The server is the simulator in a process of its own. Both sides take turns in short rounds and the median of the
rounds counts, so that a busy machine disturbs them alike.
"""

from __future__ import annotations

import argparse

import anthropic

from benchmarks.harness import Table, ratios, run
from prodkit import llm
from prodkit.testing.anthropic import Simulator

PARAMS = {
    "max_tokens": 4096,
    "messages": [{"role": "user", "content": "Vale a pena abrir uma segunda loja?"}],
}
MODEL = "claude-sonnet-5-5"


async def main(options: argparse.Namespace) -> Table:
    table = Table(
        "llm_overhead", "CPU of a call of the LLM client over the bare SDK", packages=("anthropic",)
    )
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
            create = await ratios(
                {"sdk": sdk_create, "ours": our_create, "raw": our_create_raw},
                calls=40,
                rounds=options.rounds,
            )
            stream = await ratios(
                {"events": sdk_events, "helper": sdk_helper, "ours": our_stream},
                calls=8,
                rounds=options.rounds,
            )
        await bare.close()
    table.add("create ÷ SDK", create["ours"], ceiling=0.96)
    table.add("create with .raw ÷ SDK", create["raw"])
    table.add("stream of 200 deltas ÷ stream=True", stream["ours"], ceiling=0.97)
    table.add("stream of 200 deltas ÷ the helper .stream()", stream["ours"] / stream["helper"], ceiling=0.47)
    return table


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=15)


if __name__ == "__main__":
    run(main, arguments)
