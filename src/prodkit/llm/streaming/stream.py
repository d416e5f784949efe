"""A streamed answer: text as it arrives, continued where it is cut, and the whole answer at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from prodkit.errors import LlmError
from prodkit.llm.call import Call
from prodkit.llm.failures import Failure, FaultError
from prodkit.llm.provider import Send
from prodkit.llm.results import Answer, Attempt
from prodkit.llm.streaming.assembler import Assembler, MalformedError
from prodkit.llm.streaming.attempt import StreamAttempt
from prodkit.llm.streaming.continuation import NoOverlapError, continued, resumable
from prodkit.llm.streaming.encoder import DivergedError, Encoder
from prodkit.llm.streaming.hedge import race
from prodkit.llm.streaming.typed import StreamEvent, TypedEvents

__all__ = ["Stream"]


class Stream:
    """One answer as it arrives. Made by :meth:`Client.stream`; use it in ``async with``.

    ::

        async with claude.stream(max_tokens=800, messages=[…]) as stream:
            async for text in stream.text:
                print(text, end="")
        print(stream.answer.usage)

    The request is sent when text or events are first read. Leaving the block closes the connection, also in
    mid-answer. When the connection breaks, the rest is requested and the text continues without a gap: each character
    is delivered once. Reading by several tasks at once is not supported.

    Args:
        call: the admitted call.
        send: sends instead of the provider of the attempt's model.
        resume: text of the answer that was delivered earlier; the stream delivers the rest.
        encoder: takes each event, for the middleware.
    """

    def __init__(
        self,
        call: Call,
        *,
        send: Send | None = None,
        resume: str = "",
        encoder: Encoder | None = None,
    ) -> None:
        self._call = call
        self._send = send
        self._encoder = encoder
        self._typed: TypedEvents | None = None
        self._assembler = Assembler.resuming(resume) if resume else Assembler()
        self._current: StreamAttempt | None = None
        self._loser: Callable[[], Awaitable[None]] | None = None
        self._answer: Answer | None = None
        self._error: LlmError | None = None
        self._closed = False
        self._delivered = len(resume)

    # ----------------------------------------------------------------- reading
    @property
    def text(self) -> AsyncIterator[str]:
        """The pieces of text as they arrive.

        Raises:
            LlmError: no model completed the answer; ``partial`` holds the text that had arrived.
        """
        return self._texts()

    async def _texts(self) -> AsyncIterator[str]:
        while (text := await self.advance()) is not None:
            if text:
                yield text

    @property
    def events(self) -> AsyncIterator[StreamEvent]:
        """Everything as it arrives, typed: text, thinking, tool input, citations, usage, attempts, joints.

        Raises:
            LlmError: no model completed the answer; ``partial`` holds the text that had arrived.
        """
        self._typed = self._typed or TypedEvents()
        return self._events(self._typed)

    async def _events(self, typed: TypedEvents) -> AsyncIterator[StreamEvent]:
        while True:
            try:
                text = await self.advance()
            except LlmError:
                for event in typed.take(self._call.report.attempts):
                    yield event
                raise
            for event in typed.take(self._call.report.attempts):
                yield event
            if text is None:
                return

    async def read(self) -> str | None:
        """Return the next piece of text; None when the answer is whole."""
        while (text := await self.advance()) == "":
            pass
        return text

    async def advance(self) -> str | None:
        """Take in the next bytes and return the new text in them, perhaps ""; None when the answer is whole."""
        if self._answer is not None:
            return None
        if self._error is not None:
            raise self._error
        if self._closed:
            raise RuntimeError("this stream is closed")
        failure: Failure
        try:
            return await self._piece()
        except FaultError as fault:
            failure = fault.failure
        except LlmError as error:
            error.partial = self._assembler.partial()
            self._error = error
            raise
        except BaseException:
            await self._drop(None, cancelled=True)
            self._call.report.finished("cancelled")
            raise
        # Outside of the except block: an error raised from here on carries no trace of the request.
        return await self._failed(failure)

    async def open(self) -> None:
        """Send the request now and wait for the first content; reading does so by itself."""
        while self._current is None and self._answer is None:
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
        if (current := self._current) is None:
            current = await self._open()
        assembler, encoder, typed = self._assembler, self._encoder, self._typed
        text = ""
        try:
            for event in await current.more(ended=assembler.ended):
                piece = assembler.feed(event)
                if piece:
                    text += piece
                if encoder is not None:
                    encoder.feed(event, piece)
                if typed is not None:
                    typed.feed(event, piece, assembler.blocks, assembler.continuations)
        except (NoOverlapError, MalformedError, KeyError, TypeError, AttributeError) as error:
            code = "no_overlap" if isinstance(error, NoOverlapError | DivergedError) else "bad_response"
            failure = Failure(code, status=current.attempt.status, error_type="events", detail=_detail(error))
            if not text:
                raise FaultError(failure) from None
            current.ready = []
            current.spoil(failure)  # text before the error is delivered; the next read finds the failure
            return text
        if assembler.done:
            refused = assembler.stop_reason == "refusal"
            if (
                refused
                and not assembler.text
                and self._call.options.fallback_on_refusal
                and not self._call.last_model
            ):
                raise FaultError(Failure("refusal", status=current.attempt.status))
            await self._succeeded(current)
        return text

    async def _open(self) -> StreamAttempt:
        call, assembler = self._call, self._assembler
        params: Mapping[str, Any] | None = None
        if assembler.texts:
            params = continued(call.params, assembler.text)
        attempt = await call.next(params)
        attempt.resumed = params is not None
        assembler.begin(attempt.label)
        self._current = current = StreamAttempt(call, attempt)
        hedge_after = call.options.hedge_after
        if (send := self._send) is None:
            assert attempt.state.provider is not None, "a client sets the provider of each model"
            send = attempt.state.provider.send
        if hedge_after is None or params is not None or attempt.breaker != "closed":
            await current.open(send)
        else:
            current, self._loser = await race(call, current, send, hedge_after)
            self._current = current
        return current

    # ----------------------------------------------------------------- the end
    async def _failed(self, failure: Failure) -> str | None:
        """Take in a failed attempt and return text of it that can still be delivered; None when nothing is missing.

        Raises:
            LlmError: the rest of the answer cannot be requested.
        """
        assembler, call, current = self._assembler, self._call, self._current
        if (
            assembler.ended
            and current is not None
            and failure.code not in ("no_overlap", "bad_response", "refusal")
        ):
            await self._succeeded(current)  # only the last event is missing, and it would add nothing
            return None
        late = assembler.salvage()
        if late and self._encoder is not None:
            self._encoder.text(late)
        if late and self._typed is not None:
            self._typed.text(late)
        text = assembler.text
        await self._drop(failure)
        if len(text) > self._delivered:
            self._delivered = len(text)
            call.chain.progressed()
        diverged = failure.detail == _DIVERGED
        if diverged or (text and not (assembler.resumable and resumable(call.params))):
            self._error = call.report.error(failure, None, assembler.partial())
            raise self._error
        return late

    async def _drop(self, failure: Failure | None, *, cancelled: bool = False) -> None:
        current, self._current = self._current, None
        if current is None:
            return
        try:
            await current.discard()
        finally:
            assembler = self._assembler
            usage = assembler.attempt_usage(failed=True) if assembler.begun else current.usage()
            if failure is None or cancelled:
                current.attempt.settle(None, usage, cancelled=cancelled)
            else:
                self._call.failed_attempt(current.attempt, failure, usage)

    async def _succeeded(self, current: StreamAttempt) -> None:
        self._current = None
        call, assembler = self._call, self._assembler
        try:
            await current.finish()
            if self._loser is not None:  # its record and its cost are part of the answer
                await self._loser()
        finally:
            current.attempt.settle(None, assembler.attempt_usage(failed=False))
        # A single attempt keeps the API's own counts, with everything that they hold.
        usage = call.report.totals()[0] if len(call.report.attempts) > 1 else None
        if self._encoder is not None:
            self._encoder.end(usage)
        message, label = assembler.message(usage), current.attempt.label
        self._answer = call.report.answer(message, label, tuple(assembler.continuations))

    @property
    def answer(self) -> Answer:
        """The whole answer; available once the stream has been read to its end, see :meth:`final`."""
        if self._answer is None:
            raise RuntimeError(
                "the answer is not whole yet: read stream.text to its end, or await stream.final()"
            )
        return self._answer

    async def final(self) -> Answer:
        """Read the rest and return the whole answer."""
        while await self.advance() is not None:
            pass
        return self.answer

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The requests that have ended so far."""
        return tuple(self._call.report.attempts)

    @property
    def partial(self) -> dict[str, Any] | None:
        """The text that has arrived so far, as an assistant message that is safe to send back and to resume from."""
        return self._assembler.partial()

    async def aclose(self) -> None:
        """Close the connection; may be called more than once."""
        self._closed = True
        await self._drop(None, cancelled=True)
        self._call.report.finished("closed")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._answer is None or self._current is not None:
            await self.aclose()

    def __del__(self) -> None:
        """Give connection and slot of a stream back that was dropped unread."""
        current = getattr(self, "_current", None)
        if current is None:
            return
        with suppress(RuntimeError):  # its loop is gone, and its connections with it
            loop = current.loop
            if not loop.is_closed():
                loop.call_soon_threadsafe(_abandon, loop, current, self._call)

    def __repr__(self) -> str:
        state = "whole" if self._answer else "closed" if self._closed else "open"
        return f"Stream({state}, characters={len(self._assembler.text)}, attempts={len(self.attempts)})"


_DIVERGED = "a tool call that was delivered in part was not repeated"


def _detail(error: BaseException) -> str:
    return _DIVERGED if isinstance(error, DivergedError) else ""


_closing: set[asyncio.Task[None]] = set()


def _abandon(loop: asyncio.AbstractEventLoop, current: StreamAttempt, call: Call) -> None:
    async def close() -> None:
        try:
            await current.discard()
        finally:
            current.attempt.settle(None, current.usage(), cancelled=True)
            call.report.finished("closed")

    task = loop.create_task(close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)
