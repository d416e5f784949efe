"""Event streams on virtual time, called as a server calls them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request

from prodkit.progress import Channel, Progress
from prodkit.testing import virtual_time
from prodkit.web import Drain, EventStream, last_event_id


class Client:
    """A connection: collects what is sent; leaves on request; takes bytes only while `reading`."""

    def __init__(self, method: str = "GET") -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "headers": [],
            "asgi": {"spec_version": "2.3"},
        }
        self.messages: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.left = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()
        self._asked = False

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.reading.wait()
        self.messages.append(message)
        self.times.append(asyncio.get_running_loop().time())

    @property
    def text(self) -> str:
        return b"".join(m.get("body", b"") for m in self.messages[1:]).decode()

    @property
    def ended(self) -> bool:
        return bool(self.messages) and self.messages[-1].get("more_body") is False

    def open(self, stream: EventStream) -> asyncio.Task[None]:
        return asyncio.create_task(stream(self.scope, self.receive, self.send))


class Producer:
    """Events every `pause` seconds, and the memory of how it was closed."""

    def __init__(self, count: int, pause: float, error: Exception | None = None) -> None:
        self.count, self.pause, self.error = count, pause, error
        self.made = 0
        self.closed_at: float | None = None

    async def __aiter__(self) -> AsyncIterator[Progress]:
        try:
            for number in range(1, self.count + 1):
                await asyncio.sleep(self.pause)
                self.made = number
                yield Progress(number, "step", number)
            if self.error:
                raise self.error
        finally:
            self.closed_at = asyncio.get_running_loop().time()


@virtual_time
async def test_a_stream_from_start_to_end() -> None:
    client = Client()
    await client.open(EventStream(Producer(3, 1).__aiter__()))
    assert client.text.startswith("retry: 2000\n\n")
    assert client.text.count("event: step") == 3
    assert client.ended
    headers = dict(client.messages[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"cache-control"] == b"no-store, no-transform"
    assert headers[b"x-accel-buffering"] == b"no"
    assert b"content-encoding" not in headers
    assert b"content-length" not in headers


@virtual_time
async def test_silence_is_broken_every_ten_seconds_while_the_producer_works() -> None:
    client = Client()
    await client.open(EventStream(Producer(2, 100).__aiter__()))
    gaps = [after - before for before, after in zip(client.times, client.times[1:], strict=False)]
    assert max(gaps) <= 15
    assert client.text.count(": ping") >= 18
    assert client.text.count("event: step") == 2


@virtual_time
async def test_a_client_that_leaves_stops_the_producer_at_once() -> None:
    client, producer = Client(), Producer(10_000, 100)
    serving = client.open(EventStream(producer.__aiter__()))
    await asyncio.sleep(250)
    client.left.set()
    left = asyncio.get_running_loop().time()
    await serving
    assert producer.closed_at is not None
    assert producer.closed_at - left <= 1
    assert not client.ended


@virtual_time
async def test_a_client_that_takes_nothing_is_given_up() -> None:
    client, producer = Client(), Producer(10_000, 0.01)
    serving = client.open(EventStream(producer.__aiter__(), send_timeout=30))
    await asyncio.sleep(1)
    client.reading.clear()
    await serving
    assert asyncio.get_running_loop().time() == pytest.approx(31, abs=1)
    assert producer.closed_at is not None
    assert producer.made < 110  # it was held back: what the client does not take is not made


@virtual_time
async def test_draining_ends_streams_cleanly() -> None:
    drain = Drain()
    clients, producers = [Client() for _ in range(5)], [Producer(10_000, 50) for _ in range(5)]
    serving = [
        c.open(EventStream(p.__aiter__(), drain=drain)) for c, p in zip(clients, producers, strict=True)
    ]
    await asyncio.sleep(60)
    drain.begin()
    drain.begin()
    async with asyncio.timeout(1):
        await asyncio.gather(*serving)
    assert all(client.ended for client in clients)  # a proper end, so that browsers reconnect at once
    assert all(producer.closed_at is not None for producer in producers)
    late = Client()
    async with asyncio.timeout(1):
        await late.open(EventStream(Producer(1, 50).__aiter__(), drain=drain))
    assert late.ended


@virtual_time
async def test_an_error_of_the_producer_reaches_the_server_and_cuts_the_stream() -> None:
    client = Client()
    with pytest.raises(RuntimeError, match="broken"):
        await client.open(EventStream(Producer(2, 1, RuntimeError("broken")).__aiter__()))
    assert client.text.count("event: step") == 2
    assert not client.ended


@virtual_time
async def test_a_cancelled_server_closes_the_producer() -> None:
    client, producer = Client(), Producer(10_000, 50)
    serving = client.open(EventStream(producer.__aiter__()))
    await asyncio.sleep(60)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert producer.closed_at is not None


@virtual_time
async def test_head_answers_without_a_stream() -> None:
    client, producer = Client("HEAD"), Producer(10, 1)
    await client.open(EventStream(producer.__aiter__()))
    assert len(client.messages) == 2
    assert client.ended


@virtual_time
async def test_a_reconnect_begins_where_it_broke_off() -> None:
    channel = Channel()
    for number in range(20):
        await channel.publish("t", "step" if number < 19 else "done", number)

    def request(headers: list[tuple[bytes, bytes]], query: bytes = b"") -> Request:
        return Request({"type": "http", "headers": headers, "query_string": query})

    assert last_event_id(request([])) == 0
    assert last_event_id(request([], b"last_event_id=4")) == 4
    assert last_event_id(request([(b"last-event-id", b"\xff")], b"last_event_id=4")) == 0
    after = last_event_id(request([(b"last-event-id", b"12")]))
    client = Client()
    await client.open(EventStream(channel.subscribe("t", after=after, until={"done"})))
    ids = [int(line[4:]) for line in client.text.splitlines() if line.startswith("id: ")]
    assert ids == list(range(13, 21))


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="heartbeat must be a number"):
        EventStream(Producer(1, 1).__aiter__(), heartbeat=0)
