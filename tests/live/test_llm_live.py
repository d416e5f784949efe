"""A canary against the real API: cuts its own stream, checks the joint and the usage. Costs a few cents.

Runs with ``ANTHROPIC_API_KEY`` set (``nox -s live``); skipped without.
"""

import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from prodkit import LlmError, llm

KEY = os.environ.get("ANTHROPIC_API_KEY", "")
pytestmark = [pytest.mark.live, pytest.mark.skipif(not KEY, reason="ANTHROPIC_API_KEY is not set")]
ASK: dict[str, Any] = {
    "max_tokens": 600,
    "messages": [
        {"role": "user", "content": "Count in words from one to sixty, separated by commas. Nothing else."}
    ],
}


class _Cut:
    """A response that breaks after some bytes."""

    def __init__(self, reply: Any, after: int) -> None:
        self._reply = reply
        self._after = after
        self.status, self.headers = reply.status, reply.headers

    async def body(self) -> bytes:
        content: bytes = await self._reply.body()
        return content

    async def chunks(self) -> AsyncIterator[bytes]:
        seen = 0
        async for data in self._reply.chunks():
            seen += len(data)
            yield data
            if seen > self._after:
                raise ConnectionResetError("cut by the test")

    async def aclose(self) -> None:
        await self._reply.aclose()


class _Cutting(llm.Anthropic):
    """The API, whose first stream is cut."""

    cut = 4000

    async def send(self, params: Mapping[str, Any], stream: bool, /) -> Any:
        reply = await super().send(params, stream)
        if stream and self.cut:
            after, self.cut = self.cut, 0
            return _Cut(reply, after)
        return reply


async def test_a_stream_that_is_cut_is_joined_or_refused() -> None:
    provider = _Cutting(KEY)
    async with llm.Client(models=(llm.Model("claude-haiku-5-5", provider=provider),)) as client:
        stream = client.stream(**ASK)
        try:
            answer = await stream.final()
        except LlmError as error:
            assert error.code == "no_overlap"
            return
    words = [word.strip(" .\n").lower() for word in answer.text.split(",")]
    assert len(words) == len(set(words)) == 60, answer.text
    assert len(answer.continuations) == 1
    assert answer.usage.output_tokens > 60


async def test_usage_and_models() -> None:
    async with llm.Client(KEY, models=("claude-haiku-5-5",)) as client:
        answer = await client.create(max_tokens=20, messages=[{"role": "user", "content": "Say yes."}])
        assert answer.usage.input_tokens > 0
        assert any(model.id.startswith("claude-") for model in await client.models.list())
