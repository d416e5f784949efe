"""The contract of ``llm.Provider``: a suite that every implementation passes."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import pytest

__all__ = ["ProviderContract"]

_BODY: Final[dict[str, Any]] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 400,
    "messages": [{"role": "user", "content": "Vale a pena?"}],
}


class ProviderContract:
    """Subclass it with a fixture `served` that gives a Simulator and a provider that sends to it."""

    async def test_a_whole_call_returns_status_headers_and_body(self, served: Any) -> None:
        _, provider = served
        reply = await provider.send(_BODY, False)
        body = json.loads(await reply.body())
        await reply.aclose()
        assert reply.status == 200
        assert reply.headers.get("request-id")
        assert body["content"][0]["type"] == "text"
        await provider.aclose()

    async def test_a_stream_gives_server_sent_events(self, served: Any) -> None:
        _, provider = served
        reply = await provider.send(_BODY, True)
        assert reply.headers.get("content-type", "").startswith("text/event-stream")
        data = b"".join([chunk async for chunk in reply.chunks()])
        await reply.aclose()
        kinds = [json.loads(line[6:])["type"] for line in data.split(b"\n") if line.startswith(b"data: ")]
        assert kinds[0] == "message_start"
        assert kinds[-1] == "message_stop"
        await provider.aclose()

    async def test_an_error_status_is_a_reply(self, served: Any) -> None:
        simulator, provider = served
        for stream in (False, True):
            simulator.script("529")
            reply = await provider.send(_BODY, stream)
            assert reply.status == 529
            assert json.loads(await reply.body())["error"]["type"] == "overloaded_error"
            await reply.aclose()
        assert simulator.counters.requests == 2, "a provider sends once"
        await provider.aclose()

    async def test_a_broken_connection_raises(self, served: Any) -> None:
        simulator, provider = served
        simulator.script("rst0")
        with pytest.raises(Exception):  # noqa: B017, PT011 - each HTTP library has its own
            await provider.send(_BODY, False)
        await provider.aclose()

    async def test_cancelling_closes_the_connection(self, served: Any) -> None:
        simulator, provider = served
        simulator.script("hang")
        task = asyncio.ensure_future(provider.send(_BODY, False))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(simulator.wait_until_idle)
        await provider.aclose()
