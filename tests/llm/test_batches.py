"""The results of a batch in JSON lines, without a network: each once, whatever the pieces."""

import json
from typing import Any, cast

import pytest

from prodkit.llm.batches import Batch, Batches, _ResultLines

LINES = b"".join(
    json.dumps({"custom_id": f"q{n}", "result": {"type": "canceled"}}).encode() + b"\n" for n in range(20)
)


class OneBatch:
    async def get(self, batch_id: str) -> Batch:
        return Batch(batch_id, "ended", {"canceled": 20, "succeeded": 0})


def lines() -> _ResultLines:
    return _ResultLines(cast("Batches", OneBatch()), "b")


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
@pytest.mark.parametrize("cut", [0, 333, 900])
async def test_each_result_once(size: int, cut: int) -> None:
    reader, got = lines(), []
    for sent in (LINES[:cut], LINES.rstrip()):
        reader.begin(cast("Any", None))
        for at in range(0, len(sent), size):
            got += reader.feed(sent[at : at + size])
    assert not await reader.whole()
    got += reader.end()
    assert [result.custom_id for result in got] == [f"q{n}" for n in range(20)]
    assert await reader.whole()


@pytest.mark.parametrize("line", [b"{\n", b"[]\n", b"{}\n", b'{"custom_id": 3}\n'])
def test_a_line_that_is_no_result_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"custom_id|Expecting"):
        lines().feed(line)
