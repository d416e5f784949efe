"""One streamed attempt: events from the bytes of one response, with limits on the wait for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from prodkit.llm.attempt import OpenAttempt
from prodkit.llm.call import Call
from prodkit.llm.failures import Failure, FaultError, of_error_object, of_exception, of_response
from prodkit.llm.provider import Reply, Send
from prodkit.llm.results import Usage
from prodkit.llm.streaming.assembler import CONTENT
from prodkit.llm.streaming.sse import Decoder

__all__ = ["StreamAttempt"]

_AFTER_END: Final = 1.0  # seconds to wait for message_stop once nothing is missing
_BODY_END: Final = 0.02  # seconds to wait for the end of the body behind message_stop; it comes with it


class StreamAttempt:
    """The events of one streamed attempt.

    :meth:`open` sends the request and waits for the first event that shows content; :meth:`more` waits for the next
    ones. Pings and comments do not count as content, and only the time spent waiting here counts: a consumer may
    take as long as it likes between two calls.
    """

    __slots__ = (
        "_call",
        "_chunks",
        "_decoder",
        "_failure",
        "_reply",
        "_timer",
        "_waited",
        "attempt",
        "loop",
        "ready",
    )

    def __init__(self, call: Call, attempt: OpenAttempt) -> None:
        self.attempt: OpenAttempt = attempt
        self.ready: list[dict[str, Any]] = []
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._call = call
        self._reply: Reply | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._decoder = Decoder()
        self._waited = 0.0
        self._timer: asyncio.Timeout | None = None
        self._failure: Failure | None = None

    async def open(self, send: Send) -> None:
        """Send, and read up to the first content.

        Raises:
            FaultError: the attempt failed; it is not settled yet.
        """
        call = self._call
        limit = self.attempt.started + call.options.first_content_timeout
        until = call.until
        call.engine.lifetime.exchanges.add(self)
        try:
            async with asyncio.timeout_at(min(limit, until)) as self._timer:
                body = await self._send(send)
                while body is None and not any(map(_shows_content, self.ready)):
                    self.ready += await self._read()
        except TimeoutError:
            raise FaultError(call.late() if until < limit else Failure("first_content_timeout")) from None
        except FaultError:
            raise
        except Exception as error:  # noqa: BLE001 - the table of failures decides
            raise FaultError(of_exception(error)) from None
        if body is not None:
            assert self._reply is not None
            raise FaultError(_no_stream(body, self._reply, call.engine.runtime.clock.now()))
        self.attempt.first_content = call.now() - self.attempt.started
        if self.attempt.breaker != "closed":
            self.attempt.prove()

    async def _send(self, send: Send) -> bytes | None:
        """Send, and return the body of a response that is no stream."""
        self._reply = reply = await send(self.attempt.params, True)
        streamed = reply.status < 400 and reply.headers.get("content-type", "").startswith(
            "text/event-stream"
        )
        if streamed:
            self._chunks = reply.chunks()
        self.attempt.responded(reply.status, reply.headers)
        return None if streamed else await reply.body()

    async def more(self, *, ended: bool = False) -> list[dict[str, Any]]:
        """Return the next events with content, and those that came with them.

        Args:
            ended: the message is complete but for its last event, which is not waited for long.

        Raises:
            FaultError: the attempt failed; it is not settled yet.
        """
        if self.ready:
            events, self.ready = self.ready, []
            return events
        if self._failure is not None:
            raise FaultError(self._failure)
        call = self._call
        stall = min(call.options.stall_timeout, _AFTER_END) if ended else call.options.stall_timeout
        while True:
            began = call.now()
            limit, until = began + stall - self._waited, call.until
            try:
                async with asyncio.timeout_at(min(until, limit)) as self._timer:
                    events = await self._read()
            except TimeoutError:
                raise FaultError(call.late() if until < limit else Failure("stall_timeout")) from None
            if events:
                self._waited = 0.0
                return events
            self._waited += call.now() - began

    async def _read(self) -> list[dict[str, Any]]:
        """Return the events of the next bytes, without pings.

        A failure behind events is kept for the next call: what arrived before it is delivered.
        """
        if self._failure is not None:
            raise FaultError(self._failure)
        assert self._chunks is not None
        failure: Failure | None = None
        try:
            data = await anext(self._chunks, None)
            if data is None:
                failure = Failure("truncated", status=self.attempt.status)
            raw = self._decoder.feed(data) if data is not None else self._decoder.close()
        except TimeoutError:
            raise
        except ValueError:
            raise FaultError(Failure("bad_response", error_type="event")) from None
        except Exception as error:  # noqa: BLE001 - the table of failures decides
            failure, raw = of_exception(error), self._decoder.close()
        events, broken = self._parsed(raw)
        if (failure := failure or broken) is not None:
            self._failure = failure
            if not events:
                raise FaultError(failure)
        return events

    def _parsed(self, raw: list[tuple[bytes, bytes]]) -> tuple[list[dict[str, Any]], Failure | None]:
        """Return the events without pings, up to the first that is an error or no JSON, and the failure of that."""
        events: list[dict[str, Any]] = []
        for name, text in raw:
            if name == b"ping" or not text:
                continue
            try:
                event = json.loads(text)
            except ValueError:
                event = None
            if not isinstance(event, dict):
                return events, Failure("bad_response", error_type="json")
            kind = event.get("type")
            if name == b"error" or kind == "error":
                return events, self._sent_error(event)
            if kind != "ping":
                events.append(event)
        return events, None

    def _sent_error(self, event: dict[str, Any]) -> Failure:
        reply, clock = self._reply, self._call.engine.runtime.clock
        assert reply is not None
        return of_error_object(event, status=reply.status, headers=reply.headers, now=clock.now())

    def reschedule(self, when: float, /) -> None:
        """Move the end of the wait for bytes; the client closes and ends it so."""
        if self._timer is not None:
            with suppress(RuntimeError):  # nothing waits
                self._timer.reschedule(when)

    def spoil(self, failure: Failure) -> None:
        """Make the next :meth:`more` fail."""
        self._failure = failure

    def usage(self) -> Usage:
        """Return the usage that is known while no event has been taken."""
        for event in self.ready:
            if event.get("type") == "message_start" and isinstance(message := event.get("message"), dict):
                return Usage.of(message.get("usage"), estimated=True)
        return Usage()

    async def finish(self) -> None:
        """Read the end of the body behind the last event, so that the connection can be used again."""
        if self._chunks is not None and self._failure is None:
            with suppress(Exception):
                async with asyncio.timeout(_BODY_END):
                    async for _ in self._chunks:
                        pass
        await self.discard()

    async def discard(self) -> None:
        """Give the connection back, or close it where there is more to read; errors of that are ignored."""
        self._call.engine.lifetime.exchanges.discard(self)
        if self._reply is not None:
            with suppress(Exception):
                await self._reply.aclose()


def _shows_content(event: dict[str, Any]) -> bool:
    return event.get("type") in CONTENT


def _no_stream(body: bytes, reply: Reply, now: datetime) -> Failure:
    """Return the failure of a body that is no stream: an error, a whole message, the page of a proxy."""
    if reply.status >= 400:
        return of_response(reply.status, reply.headers, body, now)
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict) and parsed.get("type") == "error":
        return of_error_object(parsed, status=reply.status, headers=reply.headers, now=now)
    return Failure("bad_response", status=reply.status, error_type="content-type")
