"""The rest of the client: typed events, resume, betas, options, disobedient models, tool streaming."""

import asyncio
import json
import random
import time
from typing import Any

import anthropic
import pytest

from prodkit import LlmError, llm
from prodkit.testing.anthropic import Simulator

pytestmark = pytest.mark.integration

SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"
THOUGHT = {"type": "thinking", "thinking": "Let me see what there is", "signature": "signed"}
TOOL = {
    "type": "tool_use",
    "id": "toolu_1",
    "name": "look",
    "input": {"where": "caderno " * 6, "n": [1, 2, 3]},
}
BLOCKS = [THOUGHT, {"type": "text", "text": "I will look it up for you."}, TOOL]


# ---------------------------------------------------------------------- events


async def test_events_show_everything_as_it_arrives(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.always({"content": BLOCKS})
    async with make() as client, client.stream(**params) as stream:
        events = [event async for event in stream.events]
    found: dict[str, list[Any]] = {}
    for event in events:
        found.setdefault(event.type, []).append(event)
    assert "".join(event.text for event in found["text"]) == stream.answer.text == BLOCKS[1]["text"]
    assert "".join(event.thinking for event in found["thinking"]) == THOUGHT["thinking"]
    assert json.loads("".join(event.partial_json for event in found["tool_input"])) == TOOL["input"]
    assert len(found["tool_input"]) > 5
    assert {(event.id, event.name) for event in found["tool_input"]} == {("toolu_1", "look")}
    assert [event.block["type"] for event in found["block"]] == ["thinking", "text", "tool_use"]
    assert found["usage"][-1].usage.output_tokens > 0
    assert [event.attempt.outcome for event in found["attempt"]] == ["ok"]


async def test_events_show_attempts_and_joints(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.script("midrst")
    async with make() as client, client.stream(**params) as stream:
        events = [event async for event in stream.events]
    kinds = [event.type for event in events]
    assert kinds.index("attempt") < kinds.index("continued") < len(kinds)
    joint = next(event.continuation for event in events if event.type == "continued")
    assert stream.answer.continuations == (joint,)
    before = "".join(event.text for event in events[: kinds.index("continued")] if event.type == "text")
    assert joint.at == len(before)
    assert (joint.kind, joint.model, joint.confidence > 0.9) == ("overlap", SONNET, True)
    assert "".join(event.text for event in events if event.type == "text") == stream.answer.text


async def test_events_end_with_the_error_and_the_attempts(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.always("529")
    kinds = []
    async with make(models=(SONNET,)) as client, client.stream(**params) as stream:
        with pytest.raises(LlmError):
            async for event in stream.events:
                kinds.append(event.type)
    assert kinds == ["attempt"] * 3


# ---------------------------------------------------------------- continuations


@pytest.mark.parametrize(
    "personality", ["more", "fewer", "squeezed", "restart", "apology", "bare_apology", "language"]
)
async def test_a_disobedient_model_is_joined_or_refused_with_the_partial(
    simulator: Simulator, make: Any, personality: str
) -> None:
    simulator.continuation(personality, seed=11)
    chance = random.Random(7)
    whole, total = 0, 30
    async with make(failures=1000, attempts=2, models=(SONNET,)) as client:
        for number in range(total):
            ask = {"max_tokens": 4000, "messages": [{"role": "user", "content": f"pergunta {number}"}]}
            want = (await client.create(**ask)).text
            simulator.script({"kind": "mid_eof", "after": chance.randrange(8, 36)})
            got = ""
            try:
                async with client.stream(**ask) as stream:
                    async for text in stream.text:
                        got += text
                assert got == want == stream.answer.text
                whole += 1
            except LlmError as error:
                assert error.code == "no_overlap"
                assert error.partial["content"][0]["text"] == got
                assert want.startswith(got)
        assert client.breakers[SONNET].state == "closed"
    assert (
        whole >= 0.95 * total if personality in ("more", "fewer", "squeezed", "restart", "apology") else True
    )
    if personality == "language":
        assert whole == 0


async def test_a_stored_answer_is_resumed_by_another_client(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    async with make() as client:
        whole = (await client.create(**params)).text
        simulator.script("midrst")
        with pytest.raises(LlmError) as raised:
            await client.with_options(attempts=1).stream(model=HAIKU, **params).final()
    stored = json.dumps(raised.value.partial)
    async with make() as other:
        for resume in (json.loads(stored), json.loads(stored)["content"][0]["text"]):
            async with other.stream(resume=resume, **params) as stream:
                rest = "".join([text async for text in stream.text])
            assert stream.answer.text == whole
            assert whole.endswith(rest)
            assert len(rest) < len(whole)
            assert stream.answer.content == [{"type": "text", "text": whole}]
            assert stream.answer.continuations[0].at == len(whole) - len(rest)


# ------------------------------------------------------------------ middleware


def _bare(simulator: Simulator, **options: Any) -> anthropic.AsyncAnthropic:
    guard = llm.ResilienceMiddleware(**{"backoff": 0.01, **options})
    return anthropic.AsyncAnthropic(api_key="k", base_url=simulator.url, max_retries=0, middleware=[guard])


async def test_the_middleware_passes_tool_input_as_it_arrives(
    simulator: Simulator, params: dict[str, Any]
) -> None:
    simulator.always({"content": BLOCKS, "delay": 0.03})
    async with _bare(simulator) as client, client.messages.stream(model=SONNET, **params) as stream:
        instants = [time.monotonic() async for event in stream if event.type == "input_json"]
        message = await stream.get_final_message()
    assert len(instants) > 5
    assert instants[-1] - instants[0] > 0.1, "not in one piece at the end"
    assert message.content[2].input == TOOL["input"]


async def test_a_tool_call_that_comes_back_otherwise_is_an_error_and_no_mixture(
    simulator: Simulator, params: dict[str, Any]
) -> None:
    other = {**TOOL, "input": {"where": "elsewhere", "n": []}}
    simulator.script({"kind": "mid_reset", "content": [BLOCKS[1], TOOL], "after": 12})
    simulator.always({"content": [BLOCKS[1], other]})
    async with _bare(simulator) as client:
        with pytest.raises(LlmError) as raised:
            async with client.messages.stream(model=SONNET, **params) as stream:
                await stream.get_final_message()
        assert raised.value.code == "no_overlap"
    simulator.script({"kind": "mid_reset", "content": [BLOCKS[1], TOOL], "after": 12})
    async with _bare(simulator, stream_tools=False) as client:
        async with client.messages.stream(model=SONNET, **params) as stream:
            message = await stream.get_final_message()
        assert message.content[1].input == other["input"], "held until it was complete"


# --------------------------------------------------------------------- options


async def test_betas_travel_in_the_header(simulator: Simulator, make: Any, params: dict[str, Any]) -> None:
    async with make() as client:
        await client.create(betas=["one-2026", "two-2026"], **params)
        await client.stream(betas=["one-2026"], extra_headers={"anthropic-beta": "zero"}, **params).final()
        await client.count_tokens(betas=["one-2026"], messages=params["messages"])
    assert [request.headers["anthropic-beta"] for request in simulator.requests] == [
        "one-2026,two-2026", "zero,one-2026", "one-2026",
    ]  # fmt: skip
    assert all("betas" not in request.body for request in simulator.requests)


async def test_with_options_shares_the_state_and_closes_nothing(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.always("529")
    async with make(models=(SONNET,), failures=4) as client:
        hasty = client.with_options(attempts=1, timeout=5)
        for _ in range(2):
            with pytest.raises(LlmError) as raised:
                await hasty.create(**params)
            assert len(raised.value.attempts) == 1
        with pytest.raises(LlmError) as raised:
            await client.create(**params)
        assert len(raised.value.attempts) == 2, "the fourth failure opened the breaker that both share"
        assert hasty.breakers[SONNET].state == "open"
        await hasty.aclose()
        client.breakers[SONNET].reset()
        simulator.always("ok")
        assert await client.create(**params)
        with pytest.raises(TypeError, match="concurrency"):
            client.with_options(concurrency=3)


async def test_a_call_that_is_cancelled_in_its_back_off_is_cancelled(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.always("529")
    async with make(backoff=5.0, models=(SONNET,)) as client:
        task = asyncio.ensure_future(client.create(**params))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_conversation_is_fitted_with_the_apis_own_count(simulator: Simulator, make: Any) -> None:
    talk = [{"role": ("user", "assistant")[number % 2], "content": "x" * 200} for number in range(21)]
    async with make() as client:
        fitted = await client.fit(talk, 500)
        assert fitted.fits
        assert [*fitted.left_out, *fitted.messages] == talk
        assert await client.count_tokens(messages=fitted.messages) == fitted.tokens <= 500
        assert await client.count_tokens(messages=talk[len(fitted.left_out) - 2 :]) > 500
