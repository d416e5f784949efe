"""Claude through cut streams, overload and a hung API: no key needed, the simulator answers and misbehaves."""

import asyncio

from prodkit import Deadline, Runtime, llm
from prodkit.testing.anthropic import Simulator

QUESTION = {
    "max_tokens": 800,
    "messages": [{"role": "user", "content": "Vale a pena abrir uma segunda loja?"}],
}


async def main(simulator: Simulator) -> None:
    runtime = Runtime()
    runtime.events.subscribe(
        lambda event: print(f"    request {event.number}: {event.model} {event.outcome}"), llm.LlmAttempt
    )
    async with llm.Client("no key", base_url=simulator.url, backoff=0.05, runtime=runtime) as claude:
        print("The connection breaks in mid-answer:")
        simulator.script("midrst")
        async with claude.stream(system="Você é Ana, economista.", **QUESTION) as stream:
            pieces = [text async for text in stream.text]
        assert "".join(pieces) == stream.answer.text
        joint = stream.answer.continuations[0]
        print(
            f"  {len(stream.answer.text)} characters, joined after {joint.at}: {stream.answer.text[:60]!r}…"
        )

        print("Sonnet is overloaded:")
        simulator.always("overloaded", model="claude-sonnet-5-5")
        answer = await claude.create(**QUESTION)
        assert answer.fell_back
        print(f"  {answer.model} answered after {len(answer.attempts)} requests")

        print("The API hangs:")
        simulator.always("hang")
        try:
            with Deadline.after(0.3):
                await claude.create(model="claude-haiku-5-5", **QUESTION)
        except llm.LlmError as error:
            print(f"  {type(error).__name__}: {error}")
    print((await claude.check()).status, simulator.counters.by_model)


if __name__ == "__main__":
    with Simulator(answers="council") as running:
        asyncio.run(main(running))
