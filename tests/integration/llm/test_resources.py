"""Batches, files and models: retried, taken up again, each result once."""

from typing import Any

import pytest

from prodkit import Deadline, InvalidError, LlmError, llm
from prodkit.testing.anthropic import Simulator

pytestmark = pytest.mark.integration

SONNET = "claude-sonnet-5-5"


def _requests(count: int) -> dict[str, dict[str, Any]]:
    return {
        f"q{number}": {
            "model": SONNET,
            "max_tokens": 100,
            "messages": [{"role": "user", "content": f"pergunta {number}"}],
        }
        for number in range(count)
    }


async def test_a_batch_is_taken_up_from_its_id_and_gives_each_result_once(
    simulator: Simulator, make: Any
) -> None:
    async with make() as client:
        stored = (await client.batches.submit(_requests(1000))).id
    simulator.script(
        {"kind": "mid_reset", "after": 300},
        {"kind": "mid_cut", "after": 700},
        "529",
        {"kind": "mid_eof", "after": 900},
    )
    async with make() as other:  # after a restart: only the id is known
        batch = await other.batches.wait(stored, poll=0.1)
        assert (batch.ended, batch.counts["succeeded"]) == (True, 1000)
        results = [result async for result in other.batches.results(stored)]
    assert len(results) == len({result.custom_id for result in results}) == 1000
    assert all(result.ok and result.text for result in results)


async def test_submitting_is_repeated_only_when_it_cannot_have_been_accepted(
    simulator: Simulator, make: Any
) -> None:
    async with make() as client:
        simulator.script("529", "ra-0.01")
        assert (await client.batches.submit(_requests(2))).status == "in_progress"
        simulator.script("500")
        with pytest.raises(LlmError) as raised:
            await client.batches.submit(_requests(2))
        assert (raised.value.code, len(raised.value.attempts)) == ("server_error", 1)
        with pytest.raises(InvalidError):
            await client.batches.submit([])
        with pytest.raises(LlmError) as missing:
            await client.batches.get("msgbatch_none")
        assert missing.value.code == "not_found"


async def test_waiting_ends_with_the_deadline(simulator: Simulator, make: Any) -> None:
    async with make() as client:
        batch = await client.batches.submit(_requests(1))
        with pytest.raises(llm.LlmDeadlineError), Deadline.after(0.2):
            await client.batches.wait(batch.id, poll=30)
        assert (await client.batches.cancel(batch.id)).id == batch.id


async def test_files(simulator: Simulator, make: Any) -> None:
    async with make() as client:
        simulator.script("529")
        stored = await client.files.upload(b"hello", filename="a.txt", media_type="text/plain")
        assert stored.filename == "a.txt"
        assert (await client.files.get(stored.id)).id == stored.id
        await client.files.delete(stored.id)
        with pytest.raises(LlmError) as raised:
            await client.files.get(stored.id)
        assert raised.value.code == "not_found"


async def test_models(simulator: Simulator, make: Any) -> None:
    async with make() as client:
        models = await client.models.list()
        assert {model.id: model.line for model in models}[SONNET] == "sonnet"
        assert (await client.models.get(SONNET)).lifecycle == "active"
