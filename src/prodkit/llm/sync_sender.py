"""The synchronous side of the middleware: requests in threads, waits on a background loop. Loads anthropic."""

from __future__ import annotations

import asyncio
import contextvars
import copy
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx2
from anthropic import APIRequest, APIResponse, CallNext

from prodkit.core.portal import Portal
from prodkit.llm.anthropic_internals import response_parts
from prodkit.llm.provider import Reply
from prodkit.llm.streaming.encoder import Encoder
from prodkit.llm.streaming.stream import Stream

__all__ = ["Background", "SyncSender", "encoded_headers", "with_body"]

T = TypeVar("T")


class Background:
    """The loop on which the waits run, and the threads in which requests block."""

    def __init__(self, concurrency: int) -> None:
        self.portal: Portal = Portal("prodkit-llm")
        # An attempt that was given up may block its thread until its read timeout: the next one needs another.
        self._threads = ThreadPoolExecutor(2 * concurrency, thread_name_prefix="prodkit-llm")

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        """Run a blocking function in a thread, with the context of the calling task."""
        context = contextvars.copy_context()

        def call() -> T:
            return context.run(fn, *args)

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


class SyncSender:
    """Sends through the rest of the SDK's synchronous chain and remembers the SDK's last response."""

    def __init__(
        self, background: Background, request: APIRequest, call_next: CallNext, timeout: float
    ) -> None:
        self._background = background
        self._request = request
        self._call_next = call_next
        self._timeout = timeout
        self.last: APIResponse[Any] | None = None

    async def send(self, params: Mapping[str, Any], stream: bool, /) -> Reply:
        self.last = None
        request = with_body(self._request, params, stream)
        # A thread cannot be cancelled: a read that the timers have given up ends by this.
        request.options.timeout = httpx2.Timeout(
            connect=5.0, read=self._timeout, write=30.0, pool=self._timeout
        )
        response = await self._background.run(self._call_next, request)
        self.last = response
        reply = _SyncReply(self._background, response.http_response)
        if stream and response.status_code >= 400:
            await reply.body()
        return reply

    def streamed(self, stream: Stream, encoder: Encoder) -> APIResponse[Any]:
        """Return a response like the last one, with the encoded `stream` for its body."""
        last = self.last
        assert last is not None
        http = last.http_response
        body = _SyncBody(self._background.portal, stream, encoder)
        raw = httpx2.Response(
            status_code=200, headers=encoded_headers(http.headers), stream=body, request=http.request
        )
        return APIResponse(raw=raw, stream=True, **response_parts(last))


class _SyncReply:
    """A response of the synchronous HTTP client; its reads run in threads."""

    def __init__(self, background: Background, response: httpx2.Response) -> None:
        self._background = background
        self._response = response
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def body(self) -> bytes:
        return await self._background.run(self._response.read)

    async def chunks(self) -> AsyncIterator[bytes]:
        pieces = self._response.iter_bytes()

        def following() -> bytes | None:
            return next(pieces, None)

        while (piece := await self._background.run(following)) is not None:
            yield piece

    async def aclose(self) -> None:
        await self._background.run(self._response.close)


class _SyncBody(httpx2.SyncByteStream):
    """The continued stream as bytes."""

    def __init__(self, portal: Portal, stream: Stream, encoder: Encoder) -> None:
        self._portal = portal
        self._stream = stream
        self._encoder = encoder

    def __iter__(self) -> Iterator[bytes]:
        while True:
            text = self._portal.call(self._stream.advance)
            if data := self._encoder.take():
                yield data
            if text is None:
                return

    def close(self) -> None:
        self._portal.call(self._stream.aclose)


def with_body(request: APIRequest, params: Mapping[str, Any], stream: bool) -> APIRequest:
    """Return `request` with another body; the rest is shared, not copied."""
    options = copy.copy(request.options)
    options.json_data = {**params, "stream": True} if stream else dict(params)
    return APIRequest(
        options=options,
        cast_to=request.cast_to,
        stream=request.stream,
        stream_cls=request.stream_cls,
        retries_taken=request.retries_taken,
    )


def encoded_headers(headers: httpx2.Headers) -> httpx2.Headers:
    """Return the headers of a response whose body is encoded again."""
    headers = headers.copy()
    for name in ("content-encoding", "content-length"):
        if name in headers:
            del headers[name]
    return headers
