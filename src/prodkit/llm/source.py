"""One streamed attempt: events from the bytes of one response, with the limits on waiting for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from prodkit.llm.classify import Failure, of_error_object, of_exception, of_response
from prodkit.llm.records import Usage
from prodkit.llm.splice import CONTENT
from prodkit.llm.sse import Decoder
from prodkit.llm.ticket import FaultError, Ticket
from prodkit.llm.wire import Reply, Send

__all__ = ["Source"]


class Source:
    """The events of one streamed attempt.

    :meth:`open` sends the request and waits for the first event that shows content; :meth:`more` waits for the next
    ones. Pings and comments do not count as content, and only the time spent waiting here counts: a consumer may
    take as long as it likes between two calls.
    """

    __slots__ = ("_chunks", "_decoder", "_reply", "_spoilt", "_waited", "loop", "ready", "ticket")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.ready: list[dict[str, Any]] = []
        self._reply: Reply | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._decoder = Decoder()
        self._waited = 0.0
        self._spoilt = False
        self.loop = asyncio.get_running_loop()

    async def open(self, send: Send) -> None:
        """Sends, and reads up to the first content.

        Raises:
            FaultError: the attempt failed; it is not settled yet.
        """
        call = self.ticket.call
        limit = self.ticket.started + call.options.first_content_timeout
        late = call.until < limit
        try:
            async with asyncio.timeout_at(min(limit, call.until)):
                await self._open(send)
        except TimeoutError:
            raise FaultError(call.late() if late else Failure("first_content_timeout")) from None
        self.ticket.first_content = call.now() - self.ticket.started

    async def _open(self, send: Send) -> None:
        now = self.ticket.call.runtime.clock.now
        try:
            self._reply = reply = await send(self.ticket.params, True)
            self.ticket.answered(reply.status, reply.headers)
            body = None if reply.status < 400 and reply.is_event_stream else await reply.body()
        except TimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - the table of failures decides
            raise FaultError(of_exception(error)) from None
        if body is not None:
            raise FaultError(_no_stream(body, reply, now()))
        self._chunks = reply.chunks()
        while not any(event.get("type") in CONTENT for event in self.ready):
            self.ready += await self._read()

    async def more(self) -> list[dict[str, Any]]:
        """The next events with content, and what came with them.

        Raises:
            FaultError: the attempt failed; it is not settled yet.
        """
        if self._spoilt:
            raise FaultError(Failure("bad_response", error_type="events"))
        if self.ready:
            events, self.ready = self.ready, []
            return events
        call = self.ticket.call
        now, stall = call.now, call.options.stall_timeout
        while True:
            begun = now()
            limit = begun + stall - self._waited
            late = call.until < limit
            try:
                async with asyncio.timeout_at(call.until if late else limit):
                    events = await self._read()
            except TimeoutError:
                raise FaultError(call.late() if late else Failure("stall_timeout")) from None
            if events:
                self._waited = 0.0
                return events
            self._waited += now() - begun

    async def _read(self) -> list[dict[str, Any]]:
        """The events of the next bytes, pings left out."""
        assert self._chunks is not None
        try:
            data = await anext(self._chunks, None)
        except Exception as error:
            if isinstance(error, TimeoutError):
                raise
            raise FaultError(of_exception(error)) from None
        if data is None:
            raise FaultError(Failure("truncated", status=self.ticket.status))
        try:
            raw = self._decoder.feed(data)
        except ValueError:
            raise FaultError(Failure("bad_response", error_type="event")) from None
        events: list[dict[str, Any]] = []
        for name, text in raw:
            if name == b"ping" or not text:
                continue
            event = _parsed(text)
            kind = event.get("type")
            if name == b"error" or kind == "error":
                raise FaultError(self._told(event))
            if kind != "ping":
                events.append(event)
        return events

    def _told(self, event: dict[str, Any]) -> Failure:
        reply, clock = self._reply, self.ticket.call.runtime.clock
        assert reply is not None
        return of_error_object(event, status=reply.status, headers=reply.headers, now=clock.now())

    def spoil(self) -> None:
        """Makes the next :meth:`more` fail: the events make no sense."""
        self._spoilt = True

    def usage(self) -> Usage:
        """What is known of the usage while no event was taken."""
        for event in self.ready:
            if event.get("type") == "message_start" and isinstance(message := event.get("message"), dict):
                return Usage.of(message.get("usage"), estimated=True)
        return Usage()

    async def discard(self) -> None:
        """Gives the connection back, or closes it where there is more to read; whatever that says, it is over."""
        if self._reply is not None:
            with suppress(Exception):
                await self._reply.aclose()


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        event = json.loads(text)
    except ValueError:
        raise FaultError(Failure("bad_response", error_type="json")) from None
    if not isinstance(event, dict):
        raise FaultError(Failure("bad_response", error_type="event"))
    return event


def _no_stream(body: bytes, reply: Reply, now: datetime) -> Failure:
    """A body that is no stream: an error, a whole message, a page of some proxy."""
    if reply.status >= 400:
        return of_response(reply.status, reply.headers, body, now)
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if isinstance(told, dict) and told.get("type") == "error":
        return of_error_object(told, status=reply.status, headers=reply.headers, now=now)
    return Failure("bad_response", status=reply.status, error_type="content-type")
