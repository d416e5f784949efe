"""A streamed answer: text as it comes, mended where it breaks, and the whole answer at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from prodkit.errors import LlmError
from prodkit.llm.call import Call
from prodkit.llm.classify import Failure
from prodkit.llm.hedging import race
from prodkit.llm.records import Answer, Attempt
from prodkit.llm.seam import continued, resumable
from prodkit.llm.source import Source
from prodkit.llm.splice import MalformedError, Splice
from prodkit.llm.ticket import FaultError
from prodkit.llm.whole import answer_of
from prodkit.llm.wire import Send

__all__ = ["Stream"]


class Stream:
    """One answer on its way. Made by :meth:`Client.stream`; use it in ``async with``.

    ::

        async with claude.stream(max_tokens=800, messages=[…]) as stream:
            async for text in stream.text:
                print(text, end="")
        print(stream.answer.usage)

    The request is sent when the text is first asked for. Leaving the block closes the connection, also in
    mid-answer. When the connection breaks, the rest is asked for and the text goes on without a gap: each character
    comes once. Reading by several tasks at once is not supported.
    """

    def __init__(self, call: Call, send: Send) -> None:
        self._call = call
        self._send = send
        self.relay: Callable[[Mapping[str, Any], str], object] | None = None  # is shown each event
        self.splice = Splice()
        self._source: Source | None = None
        self._answer: Answer | None = None
        self._error: LlmError | None = None
        self._closed = False
        self._delivered = 0

    # -------------------------------------------------------------------- text
    @property
    def text(self) -> AsyncIterator[str]:
        """The pieces of text as they come.

        Raises:
            LlmError: no model could bring the answer to its end; ``partial`` holds what had arrived.
        """
        return self._texts()

    async def _texts(self) -> AsyncIterator[str]:
        while (text := await self.read()) is not None:
            yield text

    async def read(self) -> str | None:
        """The next piece of text; None when the answer is whole."""
        while self._answer is None:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise RuntimeError("this stream is closed")
            failure: Failure | None = None
            text = ""
            try:
                text = await self._piece()
            except FaultError as fault:
                failure = fault.failure
            except LlmError as error:
                error.partial = self.splice.partial()
                self._error = error
                raise
            except BaseException:
                await self._drop(None, cancelled=True)
                self._call.finished("cancelled")
                raise
            # Outside of the except block: what is raised from here on carries no trace of the request.
            if failure is not None:
                await self._failed(failure)
            elif text:
                return text
        return None

    async def open(self) -> None:
        """Sends the request now and waits for the first content. Reading does so by itself."""
        while self._source is None and self._answer is None:
            failure: Failure | None = None
            try:
                await self._open()
            except FaultError as fault:
                failure = fault.failure
            except BaseException:
                await self._drop(None, cancelled=True)
                raise
            if failure is not None:
                await self._failed(failure)

    async def _piece(self) -> str:
        if (source := self._source) is None:
            source = await self._open()
        events = await source.more()
        splice, relay = self.splice, self.relay
        text = ""
        try:
            for event in events:
                piece = splice.feed(event)
                if piece:
                    text += piece
                if relay is not None:
                    relay(event, piece)
        except (MalformedError, KeyError, TypeError, AttributeError):
            if not text:
                raise FaultError(Failure("bad_response", error_type="events")) from None
            source.spoil()  # what came before the nonsense is delivered; the next look finds the failure
            return text
        if splice.done:
            if splice.refused and not splice.text and self._may_ask_another():
                raise FaultError(Failure("refusal", status=source.ticket.status))
            await self._succeeded(source)
        return text

    def _may_ask_another(self) -> bool:
        return self._call.options.fallback_on_refusal and not self._call.last_model

    async def _open(self) -> Source:
        call, splice = self._call, self.splice
        splice.begin()
        params: Mapping[str, Any] | None = None
        if (text := splice.text).strip():
            params = continued(call.params, text)
        ticket = await call.next(params)
        ticket.resumed = params is not None
        self._source = source = Source(ticket)
        hedge_after = call.options.hedge_after
        if hedge_after is None or text or ticket.breaker != "closed":
            await source.open(self._send)
        else:
            self._source = source = await race(source, self._send, hedge_after)
        return source

    # ----------------------------------------------------------------- the end
    async def _failed(self, failure: Failure) -> None:
        """An attempt has failed: on to the next one, unless there is none."""
        splice, call = self.splice, self._call
        text = splice.text
        await self._drop(failure)
        if len(text) > self._delivered:
            self._delivered = len(text)
            call.plan.renewed()
        call.after(failure)
        if text and not (splice.resumable and resumable(call.params)):
            self._error = call.error(failure, None, splice.partial())
            raise self._error

    async def _drop(self, failure: Failure | None, *, cancelled: bool = False) -> None:
        source, self._source = self._source, None
        if source is None:
            return
        try:
            await source.discard()
        finally:
            usage = self.splice.attempt_usage(failed=True) if self.splice.begun else source.usage()
            source.ticket.settle(failure, usage, cancelled=cancelled)

    async def _succeeded(self, source: Source) -> None:
        self._source = None
        call, splice = self._call, self.splice
        try:
            await source.discard()
        finally:
            source.ticket.settle(None, splice.attempt_usage(failed=False))
        self._answer = answer_of(call, splice.message(call.usage), source.ticket.lane.model.name)

    @property
    def answer(self) -> Answer:
        """The whole answer. Only once the text has been read to its end; see :meth:`final`."""
        if self._answer is None:
            raise RuntimeError(
                "the answer is not whole yet: read stream.text to its end, or await stream.final()"
            )
        return self._answer

    async def final(self) -> Answer:
        """Reads what is left and returns the whole answer."""
        while await self.read() is not None:
            pass
        return self.answer

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The requests that have ended so far."""
        return tuple(self._call.attempts)

    @property
    def partial(self) -> dict[str, Any] | None:
        """What has arrived so far, as an assistant message that is safe to send back."""
        return self.splice.partial()

    async def aclose(self) -> None:
        """Closes the connection; may be called more than once."""
        self._closed = True
        await self._drop(None, cancelled=True)
        self._call.finished("closed")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        """A stream that was dropped unread gives its connection and its place back."""
        source = getattr(self, "_source", None)
        if source is None:
            return
        with suppress(RuntimeError):  # its loop is gone, and its connections with it
            loop = source.loop
            if not loop.is_closed():
                loop.call_soon_threadsafe(_abandon, loop, source, self._call)

    def __repr__(self) -> str:
        state = "whole" if self._answer else "closed" if self._closed else "open"
        return f"Stream({state}, characters={len(self.splice.text)}, attempts={len(self._call.attempts)})"


_closing: set[asyncio.Task[None]] = set()


def _abandon(loop: asyncio.AbstractEventLoop, source: Source, call: Call) -> None:
    async def close() -> None:
        try:
            await source.discard()
        finally:
            source.ticket.settle(None, source.usage(), cancelled=True)
            call.finished("closed")

    task = loop.create_task(close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)
