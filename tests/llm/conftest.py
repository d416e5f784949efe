"""A provider without a network, for virtual time: each request takes the next step of a script."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from prodkit import Runtime, llm


class FakeReply:
    def __init__(self, status: int, headers: Mapping[str, str], body: Any) -> None:
        self.status = status
        self.headers = {"request-id": "req_1", **headers}
        self._body = body
        self.closed = False

    @property
    def is_event_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    async def body(self) -> bytes:
        return json.dumps(self._body).encode()

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self._body:
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            elif isinstance(piece, Exception):
                raise piece
            else:
                yield piece

    async def aclose(self) -> None:
        self.closed = True


class FakeProvider:
    """Answers each request with the next step: a status, (status, headers), seconds to wait first, or a reply."""

    name = "anthropic"

    def __init__(self, steps: list[Any]) -> None:
        self.steps = steps
        self.sent: list[tuple[float, str]] = []

    async def send(self, params: Mapping[str, Any], stream: bool) -> FakeReply:
        self.sent.append((asyncio.get_running_loop().time(), params["model"]))
        step = self.steps.pop(0) if self.steps else 200
        headers: Mapping[str, str] = {}
        if isinstance(step, float):
            await asyncio.sleep(step)
            step = 200
        if isinstance(step, tuple):
            step, headers = step
        if isinstance(step, FakeReply):
            return step
        if isinstance(step, Exception):
            raise step
        body: dict[str, Any] = {"type": "error", "error": {"type": "api_error", "message": "no"}}
        if step == 200:
            body = {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "content": [{"type": "text", "text": "sim"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 3, "output_tokens": 1},
            }
        return FakeReply(step, headers, body)


@pytest.fixture
def faked() -> Callable[..., tuple[llm.Client, FakeProvider]]:
    def made(*steps: Any, **options: Any) -> tuple[llm.Client, FakeProvider]:
        client = llm.Client("k", runtime=Runtime(), **options)
        wire = FakeProvider(list(steps))
        for state in client._engine.states:
            state.provider = wire  # type: ignore[assignment]
        return client, wire

    return made


@pytest.fixture
def reply() -> type[FakeReply]:
    return FakeReply
