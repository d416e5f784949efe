"""Batches, files and models: retried, taken up again, each result once."""

import random
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
        simulator.script("rst0")  # on a connection that was kept alive
        with pytest.raises(LlmError) as reset:
            await client.batches.submit(_requests(2))
        assert (reset.value.code, len(reset.value.attempts)) == ("connection", 1)
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


@pytest.mark.parametrize(
    "faults",
    [
        (),
        ("chunked",),
        ({"kind": "mid_reset", "after": 100_000}, {"kind": "mid_cut", "after": 70_001}, "529"),
        ({"kind": "mid_eof", "after": 100_000}, {"kind": "mid_eof", "after": 1}),
        ({"kind": "mid_reset", "after": 100_000}, "no_range"),
        ({"kind": "mid_cut", "after": 150_000}, {"kind": "no_range", "after": 1}),
        ("rst0", "html502"),
        ({"kind": "mid_stall", "after": 50_000},),
    ],
)
async def test_a_file_is_downloaded_whole(simulator: Simulator, make: Any, faults: Any) -> None:
    data = random.Random(7).randbytes(200_000)
    stored = simulator.file(data, filename="plot.png", media_type="image/png")
    simulator.script(*faults)
    async with make(stall_timeout=0.3, backoff=0.01) as client:
        pieces = [piece async for piece in client.files.download(stored)]
        assert b"".join(pieces) == data
        found = await client.files.get(stored)
        assert (found.downloadable, found.size, found.media_type) == (True, 200_000, "image/png")


async def test_a_download_that_begins_again_and_again_moves_on(simulator: Simulator, make: Any) -> None:
    data = random.Random(7).randbytes(100_000)
    stored = simulator.file(data)
    simulator.script(*({"kind": "mid_reset", "after": 20_000} for _ in range(4)))
    async with make(attempts=2) as client:
        assert await client.files.content(stored) == data


async def test_a_download_has_limits_and_clear_errors(simulator: Simulator, make: Any) -> None:
    stored = simulator.file(b"x" * 5000)
    async with make(attempts=2, backoff=0.01, stall_timeout=0.1) as client:
        for behaviour in ("ok", "chunked"):
            simulator.script(behaviour)
            with pytest.raises(LlmError) as raised:
                await client.files.content(stored, max_bytes=4999)
            assert (raised.value.code, len(raised.value.attempts)) == ("too_large", 1)
        assert len(await client.files.content(stored, max_bytes=5000)) == 5000
        own = await client.files.upload(b"mine", filename="a.txt", media_type="text/plain")
        assert (own.size, own.downloadable) == (4, False)
        with pytest.raises(LlmError) as refused:
            await client.files.content(own.id)
        assert refused.value.code == "invalid_request"
        with pytest.raises(LlmError) as missing:
            await client.files.content("file_none")
        assert missing.value.code == "not_found"
        simulator.script(*({"kind": "mid_stall", "after": 1} for _ in range(2)))
        with pytest.raises(LlmError) as late, Deadline.after(0.05):
            await client.files.content(stored)
        assert late.value.code == "deadline"
        with pytest.raises(ValueError, match="max_bytes"):
            client.files.download(stored, max_bytes=0)


async def test_leaving_a_download_early_gives_slot_and_connection_back(
    simulator: Simulator, make: Any
) -> None:
    stored = simulator.file(b"x" * 3_000_000)
    async with make(concurrency=1, timeout=2) as client:
        pieces = client.files.download(stored)
        assert await anext(pieces)
        await pieces.aclose()
        assert (await client.check()).details["in_flight"] == 0
        assert len(await client.files.content(stored)) == 3_000_000


async def test_files_are_listed_to_the_last_page(simulator: Simulator, make: Any) -> None:
    async with make() as client:
        before = {file.id for file in await client.files.list()}
        made = {simulator.file(b"x") for _ in range(230)}
        assert {file.id for file in await client.files.list()} == before | made


async def test_a_batch_whose_id_was_lost_is_found(simulator: Simulator, make: Any) -> None:
    async with make() as client:
        submitted = await client.batches.submit(_requests(1))
        assert submitted.id == (await client.batches.list(limit=1))[0].id


async def test_models(simulator: Simulator, make: Any) -> None:
    async with make() as client:
        models = await client.models.list()
        assert {model.id: model.line for model in models}[SONNET] == "sonnet"
        assert (await client.models.get(SONNET)).lifecycle == "active"
