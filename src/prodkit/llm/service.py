"""Calls of the API that ask no model: batches, files, models. They have the client's retries, waits and limits."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, Self, TypeVar

from prodkit.llm.attempt import OpenAttempt
from prodkit.llm.call import Call
from prodkit.llm.completion import run_whole
from prodkit.llm.engine import Engine
from prodkit.llm.failures import Failure, FaultError, of_exception, of_response
from prodkit.llm.options import Model
from prodkit.llm.provider import Reply
from prodkit.llm.results import Usage
from prodkit.llm.transport import SdkProvider

__all__ = ["Body", "Service"]

_OF_MODELS: Final[Mapping[str, Any]] = {"budget": None, "hedge_after": None, "fallback_on_refusal": False}

T = TypeVar("T")


class Body(Protocol[T]):
    """The reader of a streamed body, which may come in several responses when connections break."""

    def begin(self, reply: Reply, /) -> None:
        """Take in the head of a response; raise FaultError when it is of no use."""
        ...

    def feed(self, data: bytes, /) -> list[T]:
        """Return what the next bytes complete; ValueError when they cannot be read."""
        ...

    def end(self) -> list[T]:
        """Return what the end of a response completes."""
        ...

    async def whole(self) -> bool:
        """Return True when nothing is missing at the end of a response."""
        ...


class Service:
    """Sends for batches, files and models: they share the client's slots and have a breaker of their own."""

    def __init__(self, engine: Engine, provider: SdkProvider) -> None:
        options = replace(engine.options, models=(Model("api"),), **_OF_MODELS)
        self.engine: Engine = Engine(options, runtime=engine.runtime, key=engine.key)
        self.engine.slots = engine.slots
        self.engine.lifetime = engine.lifetime
        self.engine.connect(provider)
        self.provider: SdkProvider = provider

    def with_options(self, **changes: Any) -> Self:
        """Return a service with other options and the same state; `changes` as for ``Client.with_options``."""
        other = copy.copy(self)
        kept = {name: value for name, value in changes.items() if name not in _OF_MODELS}
        other.engine = self.engine.with_options(**kept)
        return other

    async def run(
        self,
        operation: str,
        send: Callable[[], Awaitable[Reply]],
        read: Callable[[dict[str, Any]], T | None],
        *,
        once: bool = False,
    ) -> T:
        """Send until there is a valid response.

        Args:
            operation: named in events.
            send: calls the SDK and returns its reply.
            read: makes the result of the JSON object, None when it is not valid.
            once: the request must not be processed twice: it is repeated only when it cannot have been.
        """
        call = Call(self.engine, {}, operation, timeout=self.engine.options.timeout, once=once)

        async def sent(params: Mapping[str, Any], stream: bool, /) -> Reply:
            return await send()

        result, attempt, _ = await run_whole(call, read, send=sent)
        call.report.finished("ok", model=attempt.label)
        return result

    async def read(
        self, operation: str, send: Callable[[], Awaitable[Reply]], body: Body[T]
    ) -> AsyncIterator[T]:
        """Iterate over what `body` reads of a streamed response; one that breaks off is requested again.

        Each response has to begin within ``first_content_timeout``, and no silence in it may last longer than
        ``stall_timeout``; the reader's own time does not count. What arrives resets the attempt counter.

        Args:
            operation: named in events.
            send: calls the SDK and returns its reply; asked once an attempt, it may ask for the rest only.
            body: reads the responses.

        Raises:
            LlmError: the body cannot be read to its end.
        """
        call = Call(self.engine, {}, operation, timeout=None)
        while True:
            attempt = await call.next()
            reply: Reply | None = None
            failure: Failure | None = None
            try:
                reply = await self._opened(call, attempt, send)
                body.begin(reply)
                chunks = reply.chunks()
                while (data := await self._piece(call, chunks)) is not None:
                    for each in body.feed(data):
                        call.chain.progressed()
                        yield each
                for each in body.end():
                    yield each
            except FaultError as fault:
                failure = fault.failure
            except ValueError:
                failure = Failure("bad_response", status=attempt.status, error_type="body")
            except BaseException:
                attempt.settle(None, Usage(), cancelled=True)
                call.report.finished("cancelled")
                raise
            finally:
                if reply is not None:
                    await reply.aclose()
            # Outside of the except block: an error raised from here on carries no trace of the request.
            if failure is None:
                attempt.settle(None, Usage())  # before the question: it may need the only slot
                if await body.whole():
                    call.report.finished("ok", model=attempt.label)
                    return
                call.after(Failure("truncated", status=attempt.status))
            else:
                call.failed_attempt(attempt, failure, Usage())

    async def _opened(self, call: Call, attempt: OpenAttempt, send: Callable[[], Awaitable[Reply]]) -> Reply:
        reply = await self._within(
            call, send(), call.options.first_content_timeout, Failure("first_content_timeout")
        )
        attempt.responded(reply.status, reply.headers)
        if reply.status < 400:
            return reply
        try:
            content = await self._within(
                call, reply.body(), call.options.stall_timeout, Failure("stall_timeout")
            )
        finally:
            await reply.aclose()
        raise FaultError(of_response(reply.status, reply.headers, content, self.engine.runtime.clock.now()))

    async def _piece(self, call: Call, chunks: AsyncIterator[bytes]) -> bytes | None:
        async def following() -> bytes | None:
            return await anext(chunks, None)

        return await self._within(call, following(), call.options.stall_timeout, Failure("stall_timeout"))

    async def _within(self, call: Call, waiting: Awaitable[T], seconds: float, late: Failure) -> T:
        """Await, at most for `seconds` and until the Deadline or the end of the client; raise FaultError."""
        limit, until = call.now() + seconds, call.until
        exchanges = self.engine.lifetime.exchanges
        try:
            async with asyncio.timeout_at(min(limit, until)) as exchange:
                exchanges.add(exchange)
                try:
                    return await waiting
                finally:
                    exchanges.discard(exchange)
        except TimeoutError:
            raise FaultError(call.late() if until < limit else late) from None
        except Exception as error:  # noqa: BLE001 - the table of failures decides
            raise FaultError(of_exception(error)) from None
