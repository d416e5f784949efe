"""A streamed answer: text as it comes, mended where it breaks, and the whole answer at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from prodkit.llm.call import Call, FaultError
from prodkit.llm.classify import Failure
from prodkit.llm.records import Answer, Attempt
from prodkit.llm.seam import continued, resumable
from prodkit.llm.source import Source
from prodkit.llm.splice import MalformedError, Splice
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
    comes once.
    """

    def __init__(self, call: Call, send: Send) -> None:
        self._call = call
        self._send = send
        self._splice = Splice()
        self._source: Source | None = None
        self._answer: Answer | None = None
        self._error: Exception | None = None
        self._closed = False
        self._begun = False
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
        if self._error is not None:
            raise self._error
        if self._closed and self._answer is None:
            raise RuntimeError("this stream is closed")
        while self._answer is None:
            try:
                text = await self._piece()
            except FaultError as fault:
                await self._failed(fault.failure)
            except BaseException:
                await self._drop(None, cancelled=True)
                raise
            else:
                if text:
                    return text
        return None

    async def _piece(self) -> str:
        if (source := self._source) is None:
            source = await self._open()
        events = await source.more()
        splice = self._splice
        text = ""
        try:
            for event in events:
                text += splice.feed(event)
        except (MalformedError, KeyError, TypeError, AttributeError):
            # What was delivered before the nonsense stays delivered: the splice keeps count of it.
            if text:
                source.ready = [{"type": "content_block_stop"}, {"type": "content_block_stop"}]
                return text
            raise FaultError(Failure("bad_response", error_type="events")) from None
        if splice.done:
            await self._succeeded()
        return text

    async def _open(self) -> Source:
        call, splice = self._call, self._splice
        splice.begin()
        params: Mapping[str, Any] | None = None
        if (text := splice.text).strip():
            params = continued(call.params, text)
        ticket = await call.next(params)
        ticket.resumed = params is not None
        self._source = source = Source(ticket)
        await source.open(self._send)
        return source

    # ----------------------------------------------------------------- the end
    async def _failed(self, failure: Failure) -> None:
        """An attempt has failed: on to the next one, unless there is none."""
        splice, call = self._splice, self._call
        if len(text := splice.text) > self._delivered:
            self._delivered = len(text)
            call.plan.renewed()
        await self._drop(failure)
        call.after(failure)
        if text and not (splice.resumable and resumable(call.params)):
            raise self._end(call.error(failure, None, splice.partial()))

    async def _drop(self, failure: Failure | None, *, cancelled: bool = False) -> None:
        source, self._source = self._source, None
        if source is None:
            return
        try:
            await _closed(source)
        finally:
            source.ticket.settle(failure, self._splice.attempt_usage(failed=True), cancelled=cancelled)

    async def _succeeded(self) -> None:
        source, self._source = self._source, None
        assert source is not None
        splice, call = self._splice, self._call
        try:
            await _closed(source)
        finally:
            source.ticket.settle(None, splice.attempt_usage(failed=False))
        message = splice.message(call.usage)
        self._answer = Answer(
            text="".join(block["text"] for block in message["content"] if block["type"] == "text"),
            model=source.ticket.lane.model.name,
            requested_model=call.requested,
            usage=call.usage,
            attempts=tuple(call.attempts),
            stop_reason=message.get("stop_reason"),
            cost=call.cost,
            message=message,
        )
        call.finished("ok", model=self._answer.model, stop_reason=self._answer.stop_reason)

    def _end(self, error: Exception) -> Exception:
        self._error = error
        return error

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
        return self._splice.partial()

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

    def __repr__(self) -> str:
        state = "whole" if self._answer else "closed" if self._closed else "open"
        return f"Stream({state}, characters={len(self._splice.text)}, attempts={len(self._call.attempts)})"


async def _closed(source: Source) -> None:
    """Closes the connection of an attempt, whatever it says: its outcome is known."""
    with suppress(Exception):
        await source.aclose()
