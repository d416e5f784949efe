"""Server-sent events that survive reconnects, proxies, hung clients and deploys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from prodkit.core.deadline import Deadline
from prodkit.progress import Progress, comment, encode, parse_last_event_id
from prodkit.progress.sse import retry as retry_after
from prodkit.web.drain import Drain

__all__ = ["EventStream", "last_event_id"]

HEARTBEAT: Final = 10.0
"""Below the 15 s that the strictest hops allow; idle limits of 29 s (AWS) and 60 s (nginx, Cloud Run) are common."""


def last_event_id(request: HTTPConnection[Any], *, default: int = 0) -> int:
    """Where a browser that reconnects wants to go on: ``Last-Event-ID``, or ``?last_event_id=`` for the first time.

    `default` where there is none, or where it is not a number of ours.
    """
    given = request.headers.get("last-event-id") or request.query_params.get("last_event_id")
    found = parse_last_event_id(given)
    return default if found is None else found


class EventStream(Response):
    """Sends :class:`~prodkit.progress.Progress` events as ``text/event-stream``.

    `events` is consumed one at a time: the next one is asked for when the client took the last. A comment goes out
    after `heartbeat` seconds of silence, also while the producer works. The stream ends when `events` ends, when
    the client leaves, when it does not take bytes for `send_timeout` seconds, or when `drain` begins; the generator
    is then closed. An `EventSource` reconnects after `retry` seconds with the last id it saw, unless the page has
    closed it, which it should do at the last event.

    No compression, no buffering by proxies, no transformation.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncIterator[Progress],
        *,
        heartbeat: float = HEARTBEAT,
        send_timeout: float = 30.0,
        retry: float = 2.0,
        drain: Drain | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        for what, value in (("heartbeat", heartbeat), ("send_timeout", send_timeout)):
            if not value > 0:
                raise ValueError(f"{what} must be positive, got {value!r}")
        self.status_code = 200
        self.background = None
        self.init_headers(
            {
                "cache-control": "no-store, no-transform",
                "x-accel-buffering": "no",
                **(headers or {}),
            }
        )
        self._events = events
        self._heartbeat = heartbeat
        self._send_timeout = send_timeout
        self._retry = retry
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with Deadline.detached():  # a stream outlives the time in which a request has to be answered
            await self._stream(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        pump: asyncio.Task[None] | None = None
        watchers: list[asyncio.Task[None]] = []
        # One event at a time crosses here, so a slow client slows the producer and nothing piles up.
        slot: asyncio.Queue[Progress] = asyncio.Queue(1)
        try:
            await self._send(
                send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            )
            if scope["method"] == "HEAD":
                await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
                return
            await self._write(send, retry_after(self._retry))
            pump = asyncio.create_task(self._produce(slot))
            watchers = [asyncio.create_task(_gone(receive))]
            if self._drain is not None:
                watchers.append(asyncio.create_task(self._drain.wait()))
            await self._forward(slot, pump, watchers, send)
            if not watchers[0].done() and not (pump.done() and pump.exception()):
                await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, OSError):
            return  # the client takes nothing, or is gone: there is nobody to tell
        finally:
            await self._clean(pump, watchers)

    async def _forward(
        self,
        slot: asyncio.Queue[Progress],
        pump: asyncio.Task[None],
        watchers: list[asyncio.Task[None]],
        send: Send,
    ) -> None:
        while True:
            taking = asyncio.ensure_future(slot.get())
            try:
                await asyncio.wait(
                    (taking, pump, *watchers), timeout=self._heartbeat, return_when=asyncio.FIRST_COMPLETED
                )
                if any(watcher.done() for watcher in watchers):
                    return
                if taking.done():
                    await self._write(send, encode(taking.result()))
                elif not pump.done():
                    await self._write(send, comment("ping"))
                elif slot.empty():
                    return
            finally:
                taking.cancel()

    async def _produce(self, slot: asyncio.Queue[Progress]) -> None:
        try:
            async for event in self._events:
                await slot.put(event)
        finally:
            close = getattr(self._events, "aclose", None)
            if close is not None:
                await close()

    async def _clean(self, pump: asyncio.Task[None] | None, watchers: list[asyncio.Task[None]]) -> None:
        tasks = [task for task in (pump, *watchers) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if pump is None:
            with contextlib.suppress(AttributeError):
                await self._events.aclose()  # type: ignore[attr-defined]
        elif not pump.cancelled() and (error := pump.exception()) is not None:
            raise error

    async def _write(self, send: Send, body: bytes) -> None:
        await self._send(send, {"type": "http.response.body", "body": body, "more_body": True})

    async def _send(self, send: Send, message: Message) -> None:
        async with asyncio.timeout(self._send_timeout):
            await send(message)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
