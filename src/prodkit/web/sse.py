"""Server-sent events that survive reconnects, proxies, hung clients and deploys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from starlette.background import BackgroundTask
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from prodkit.core.deadline import Deadline
from prodkit.core.validate import Arguments
from prodkit.progress import Progress, comment, encode, parse_last_event_id
from prodkit.progress.sse import retry as retry_after, unnumbered
from prodkit.web.drain import Drain
from prodkit.web.sessions import session_end

__all__ = ["CLOSING", "EventStream", "last_event_id"]

HEARTBEAT: Final = 10.0
"""Below the 15 s that the strictest hops allow; idle limits of 29 s (AWS) and 60 s (nginx, Cloud Run) are common."""
CLOSING: Final = "closing"
"""The name of the last event of a stream that ends early; its data is ``{"reason": "draining"}``, for instance."""
_FIRST: Final = 0.1
"""Seconds that a stream waits for its first event or its end before it answers 200: an end becomes a 204."""


def last_event_id(request: HTTPConnection[Any], *, default: int = 0) -> int:
    """Return the id after which a browser continues: ``Last-Event-ID``, or ``?last_event_id=`` on the first request.

    Args:
        request: the request.
        default: returned where there is no id, or where it is not a number of ours.
    """
    given = request.headers.get("last-event-id") or request.query_params.get("last_event_id")
    found = parse_last_event_id(given)
    return default if found is None else found


class EventStream(Response):
    """Send :class:`~prodkit.progress.Progress` events as ``text/event-stream``.

    Events are consumed one at a time: the next one is asked for when the client took the last. The generator is
    closed whichever way the stream ends:

    - `events` ends: the response ends. Without a single event it is a 204, which stops an `EventSource`.
    - the drain begins, the visitor's session ends (here or in another process), or `lifetime` is over: a last event
      ``closing`` names the reason (``draining``, ``session_ended``, ``deadline``). It has no id, so that the browser
      reconnects where it was.
    - the client leaves, or takes no bytes for `send_timeout`.

    No compression, no buffering by proxies, no transformation, and no deadline of the request.

    Args:
        events: the events, usually ``channel.subscribe(…)``.
        heartbeat: seconds of silence after which a comment is sent, also while the producer works.
        send_timeout: seconds after which a client that takes nothing is disconnected.
        retry: seconds after which an `EventSource` reconnects.
        lifetime: the longest time in seconds; None for as long as it takes.
        drain: the process's drain; by default the one given to :func:`~prodkit.web.install`.
        headers: further response headers.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncIterator[Progress],
        *,
        heartbeat: float = HEARTBEAT,
        send_timeout: float = 30.0,
        retry: float = 2.0,
        lifetime: float | None = None,
        drain: Drain | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        check = Arguments("EventStream")
        check.seconds("heartbeat", heartbeat)
        check.seconds("send_timeout", send_timeout)
        check.seconds("retry", retry, zero=True)
        check.seconds("lifetime", lifetime, optional=True)
        check.done()
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.init_headers(
            {"cache-control": "no-store, no-transform", "x-accel-buffering": "no", **(headers or {})}
        )
        self._events = events
        self._heartbeat = heartbeat
        self._send_timeout = send_timeout
        self._retry = retry
        self._lifetime = lifetime
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with Deadline.detached():  # a stream outlives the time in which a request has to be answered
            await self._stream(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        pump: asyncio.Task[None] | None = None
        watchers: dict[asyncio.Task[None], str] = {}
        # One event at a time crosses here, so a slow client slows the producer and nothing piles up.
        slot: asyncio.Queue[Progress] = asyncio.Queue(1)
        try:
            if scope["method"] == "HEAD":
                await self._start(send, 200)
                await self._finish(send)
                return
            watchers = self._watch(scope, receive)
            first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            pump = asyncio.create_task(self._produce(slot, first))
            await asyncio.wait((first, pump, *watchers), timeout=_FIRST, return_when=asyncio.FIRST_COMPLETED)
            if _ended(pump) and not first.done() and not any(watcher.done() for watcher in watchers):
                await self._start(send, 204)
                await self._finish(send)
                return
            await self._start(send, 200)
            await self._write(send, retry_after(self._retry))
            reason = await self._forward(slot, pump, watchers, send)
            if reason == "left" or (pump.done() and not _ended(pump)):
                return
            if reason:
                await self._write(send, unnumbered(CLOSING, {"reason": reason}))
            await self._finish(send)
        except (TimeoutError, OSError):
            return  # the client takes nothing, or is gone: nothing can be sent to it
        finally:
            await self._clean(pump, watchers)

    def _watch(self, scope: Scope, receive: Receive) -> dict[asyncio.Task[None], str]:
        """Return the tasks whose end ends the stream, each with its reason."""
        found: dict[asyncio.Task[None], str] = {asyncio.create_task(_gone(receive)): "left"}
        drain = self._drain or scope.get("prodkit.drain")
        if drain is not None:
            found[asyncio.create_task(drain.wait())] = "draining"
        ended = session_end(scope)
        if ended is not None:
            found[asyncio.create_task(ended)] = "session_ended"
        if self._lifetime is not None:
            found[asyncio.create_task(_sleep(self._lifetime))] = "deadline"
        return found

    async def _forward(
        self,
        slot: asyncio.Queue[Progress],
        pump: asyncio.Task[None],
        watchers: Mapping[asyncio.Task[None], str],
        send: Send,
    ) -> str:
        """Send events until the source or a watcher ends; return the watcher's reason, or an empty string."""
        while True:
            taking = asyncio.ensure_future(slot.get())
            try:
                await asyncio.wait(
                    (taking, pump, *watchers), timeout=self._heartbeat, return_when=asyncio.FIRST_COMPLETED
                )
                ended = [reason for watcher, reason in watchers.items() if watcher.done()]
                if "left" in ended:
                    return "left"
                if taking.done():
                    await self._write(send, encode(taking.result()))
                if ended:
                    return ended[0]
                if taking.done():
                    continue
                if not pump.done():
                    await self._write(send, comment("ping"))
                elif slot.empty():
                    return ""
            finally:
                taking.cancel()

    async def _produce(self, slot: asyncio.Queue[Progress], first: asyncio.Future[None]) -> None:
        try:
            async for event in self._events:
                await slot.put(event)
                if not first.done():
                    first.set_result(None)
        finally:
            close = getattr(self._events, "aclose", None)
            if close is not None:
                await close()

    async def _clean(
        self, pump: asyncio.Task[None] | None, watchers: Mapping[asyncio.Task[None], str]
    ) -> None:
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

    async def _start(self, send: Send, status: int) -> None:
        fields = self.raw_headers
        if status == 204:
            fields = [pair for pair in fields if pair[0] not in (b"content-type", b"x-accel-buffering")]
        await self._send(send, {"type": "http.response.start", "status": status, "headers": fields})

    async def _finish(self, send: Send) -> None:
        await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send, body: bytes) -> None:
        await self._send(send, {"type": "http.response.body", "body": body, "more_body": True})

    async def _send(self, send: Send, message: Message) -> None:
        async with asyncio.timeout(self._send_timeout):
            await send(message)


def _ended(pump: asyncio.Task[None]) -> bool:
    """Return True when the source ended by itself and without an error."""
    return pump.done() and not pump.cancelled() and pump.exception() is None


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)
