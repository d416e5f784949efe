"""Connections: kept-alive ones that the server has closed, and the end of a client with calls in flight."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anthropic
import pytest

from prodkit import LlmError, llm
from prodkit.testing.anthropic import Simulator

pytestmark = pytest.mark.integration

SONNET = "claude-sonnet-5-5"
BODY = (
    b'{"id":"m","type":"message","role":"assistant","content":[{"type":"text","text":"hi"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}'
)
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


@asynccontextmanager
async def _server(drop: str) -> AsyncIterator[tuple[str, asyncio.Semaphore]]:
    """Answers the first request of each connection; then the connection ends, when idle or at the next request.

    The semaphore is released each time that a connection is idle and, if it ends so, has ended.
    """

    writers: list[asyncio.StreamWriter] = []
    ready = asyncio.Semaphore(0)

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 0
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
                count += 1
                if count == 1:
                    writer.write(RESPONSE)
                    await writer.drain()
                    if drop.startswith("request"):
                        ready.release()
                        continue
                    await asyncio.sleep(0.05)
                if drop.endswith("reset"):
                    linger = b"\1\0\0\0\0\0\0\0"
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                else:
                    writer.close()
                if drop.startswith("idle"):
                    ready.release()
                return

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", ready
        for writer in writers:
            writer.close()
        await asyncio.sleep(0.02)


def _client(url: str, log: Any) -> tuple[Any, Callable[..., Any]]:
    client = llm.Client("k", base_url=url, models=(SONNET,), attempts=1, failures=1, runtime=log.runtime)
    return client, client.create


def _sdk(url: str, log: Any) -> tuple[Any, Callable[..., Any]]:
    guard = llm.ResilienceMiddleware(models=(SONNET,), attempts=1, failures=1, runtime=log.runtime)
    client = anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0, middleware=[guard])

    async def create(**params: Any) -> Any:
        return await client.messages.create(model=SONNET, **params)

    return client, create


@pytest.mark.parametrize("face", [_client, _sdk])
@pytest.mark.parametrize("drop", ["idle end", "idle reset", "request end", "request reset"])
async def test_a_dropped_connection_costs_no_attempt_and_no_wait(
    log: Any, params: dict[str, Any], drop: str, face: Any, running_time: Callable[[], float]
) -> None:
    async with _server(drop) as (url, ready):
        client, create = face(url, log)
        async with client:
            for _ in range(3):  # with attempts=1 and failures=1, a counted failure would end the call
                await create(**params)
                await ready.acquire()
                await asyncio.sleep(0.05)  # the end of the connection has been sent: it reaches the client
                begun = running_time()
                await create(**params)
                assert running_time() - begun <= 0.05
                await ready.acquire()
                await asyncio.sleep(0.05)
    outcomes = [attempt.outcome for attempt in log.attempts]
    assert outcomes.count("ok") == 6
    if drop != "request reset":  # the server may have seen that request: it stands in the log
        assert outcomes == ["ok"] * 6


async def test_a_new_connection_that_breaks_counts(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.script("rst0")
    async with make(attempts=1, models=(SONNET,)) as client:
        with pytest.raises(LlmError) as raised:
            await client.create(**params)
    assert [attempt.outcome for attempt in raised.value.attempts] == ["connection"]


@pytest.mark.parametrize("state", ["request", "back-off", "stream"])
async def test_closing_a_client_ends_its_calls_at_once(
    simulator: Simulator, make: Any, params: dict[str, Any], state: str, running_time: Callable[[], float]
) -> None:
    simulator.always({"back-off": "529", "request": "hang", "stream": "stall"}[state])
    client = make(backoff=5.0, models=(SONNET,), stall_timeout=20)
    call = client.stream(**params).final() if state == "stream" else client.create(**params)
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0.3)
    begun = running_time()
    await client.aclose()
    with pytest.raises(LlmError) as raised:
        await task
    assert running_time() - begun < 0.3
    assert raised.value.code == "closed"
    with pytest.raises(RuntimeError, match="closed"):
        await client.create(**params)
    await asyncio.to_thread(simulator.wait_until_idle, sockets=0)


async def test_a_client_of_ones_own_is_not_closed(simulator: Simulator, params: dict[str, Any]) -> None:
    async with anthropic.AsyncAnthropic(api_key="k", base_url=simulator.url, max_retries=0) as sdk:
        async with llm.Client(sdk=sdk) as client:
            assert await client.create(**params)
        assert await sdk.messages.create(model=SONNET, **params)


async def test_the_cause_is_chained_and_holds_no_secret(simulator: Simulator, params: dict[str, Any]) -> None:
    secret = "sk-ant-very-secret"
    async with llm.Client(secret, base_url="http://127.0.0.1:9", models=(SONNET,), attempts=1) as client:
        with pytest.raises(LlmError) as raised:
            await client.create(**params)
    cause = raised.value.__cause__
    assert isinstance(cause, llm.LlmCauseError)
    assert cause.kind == "ConnectError"
    assert secret not in f"{cause!r} {cause} {raised.value}"
    assert raised.value.__context__ is None


async def test_the_reason_of_a_local_failure_is_named(params: dict[str, Any]) -> None:
    class Missing:
        name = "elsewhere"

        async def send(self, params: Any, stream: bool, /) -> Any:
            raise ModuleNotFoundError("No module named 'botocore'")

        count = send

        async def aclose(self) -> None:
            pass

    async with llm.Client(models=(llm.Model("claude-x", provider=Missing()),)) as client:
        with pytest.raises(LlmError, match="No module named 'botocore'") as raised:
            await client.create(**params)
    assert raised.value.code == "local"
    assert "botocore" in str(raised.value.__cause__)


@pytest.mark.parametrize("asked", [False, True])
async def test_prompts_are_in_the_debug_log_only_when_that_is_asked_for(
    simulator: Simulator, make: Any, caplog: pytest.LogCaptureFixture, asked: bool
) -> None:
    logger = logging.getLogger("anthropic._base_client")
    kept = list(logger.filters)
    logger.filters.clear()
    try:
        with caplog.at_level(logging.DEBUG):
            async with make(log_prompts=asked) as client:
                await client.create(max_tokens=9, messages=[{"role": "user", "content": "Segredo42"}])
    finally:
        logger.filters[:] = kept
    assert ("Segredo42" in caplog.text) is asked
