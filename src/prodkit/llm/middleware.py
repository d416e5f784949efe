"""The second face: a middleware for people who keep ``AsyncAnthropic``. Loads anthropic when it is imported."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from prodkit.core.check import CheckResult
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import LlmError, MissingExtraError
from prodkit.llm.cost import Budget, Price
from prodkit.llm.engine import Engine, chain
from prodkit.llm.model import Model
from prodkit.llm.options import DEFAULT_MODELS, Options
from prodkit.llm.relay import Relay
from prodkit.llm.stream import Stream
from prodkit.llm.whole import message_of, run_whole
from prodkit.llm.wire import Reply, check_sdk
from prodkit.policies.shared_state import SharedState

try:
    import httpx2
    from anthropic import APIRequest, AsyncAPIResponse, AsyncCallNext, Middleware
except ImportError:
    raise MissingExtraError.named("anthropic", "llm") from None

__all__ = ["ResilienceMiddleware"]

_PATH: Final = "/v1/messages"


class ResilienceMiddleware(Middleware):
    """Gives an ``AsyncAnthropic`` what :class:`Client` has: attempts, fallback, breakers, mended streams.

    ::

        claude = AsyncAnthropic(max_retries=0, middleware=[ResilienceMiddleware()])

    It takes care of ``messages.create`` and ``messages.stream``; other calls pass untouched. The model of a call is
    asked first, then those that follow it in `models`; a model that is not among them is asked alone, without
    fallback. The client must be made with ``max_retries=0``: the first call raises ValueError otherwise.

    An error with an HTTP status that ends a call reaches the caller as the SDK's own error; whatever has no status
    (a timeout, a truncated stream) as :class:`LlmError`. In a stream, thinking and tool calls arrive in one piece.
    """

    name = "llm"

    def __init__(
        self,
        *,
        models: Sequence[str | Model] = DEFAULT_MODELS,
        prices: Mapping[str, Price] | None = None,
        budget: Budget | float | None = None,
        shared: SharedState | None = None,
        runtime: Runtime = SYSTEM,
        **options: Any,
    ) -> None:
        """`options` are those of :class:`Client`: attempts, timeout, first_content_timeout, stall_timeout …"""
        self.options = Options(
            models=chain(models, prices, strict=False),
            budget=Budget(budget) if isinstance(budget, int | float) else budget,
            **options,
        )
        self.runtime = runtime
        self._shared = shared
        self._engine = Engine(self.options, shared=shared, runtime=runtime)
        self._alone: dict[str, Engine] = {}

    async def check(self) -> CheckResult:
        """Whether the models may be asked, without asking them."""
        return await self._engine.check()

    async def handle_async(self, request: APIRequest, call_next: AsyncCallNext) -> AsyncAPIResponse[Any]:
        """The SDK calls this once for each request."""
        body = request.json
        if request.method.lower() != "post" or _path(request.url) != _PATH or not isinstance(body, Mapping):
            return await call_next(request)
        _check_retries(request, call_next)
        params: dict[str, Any] = {name: value for name, value in body.items() if name != "stream"}
        engine = self._engine_of(params.get("model"))
        sender = _Sender(request, call_next)
        try:
            if request.stream:
                return await self._streamed(engine, params, sender)
            call = engine.call(params, "create", timeout=self.options.timeout)
            _, ticket, reply = await run_whole(call, sender.send, message_of)
            call.finished("ok", model=ticket.lane.model.name)
        except LlmError:
            if (last := sender.last_error) is not None:
                return last
            raise
        return sender.response(reply)

    def _engine_of(self, model: Any) -> Engine:
        """The engine for `model`: ours, or one of its own for a model that is not in the chain."""
        if any(model == each.name for each in self.options.models):
            return self._engine
        if model not in self._alone:
            options = replace(self.options, models=(Model(model),), budget=None)
            self._alone[model] = Engine(options, shared=self._shared, runtime=self.runtime)
        return self._alone[model]

    async def _streamed(
        self, engine: Engine, params: dict[str, Any], sender: _Sender
    ) -> AsyncAPIResponse[Any]:
        call = engine.call(params, "stream", timeout=None, streamed=True)
        stream = Stream(call, sender.send)
        relay = Relay(stream.splice)
        stream.relay = relay.feed
        await stream.open()
        return sender.streamed(_Body(stream, relay))


class _Sender:
    """Sends through the rest of the SDK's chain and remembers the SDK's responses."""

    def __init__(self, request: APIRequest, call_next: AsyncCallNext) -> None:
        self._request = request
        self._call_next = call_next
        self._last: AsyncAPIResponse[Any] | None = None

    async def send(self, params: Mapping[str, Any], stream: bool) -> Reply:
        options = copy.copy(self._request.options)
        options.json_data = {**params, "stream": True} if stream else dict(params)
        request = APIRequest(
            options=options,
            cast_to=self._request.cast_to,
            stream=self._request.stream,
            stream_cls=self._request.stream_cls,
            retries_taken=self._request.retries_taken,
        )
        self._last = None
        self._last = response = await self._call_next(request)
        if stream and response.status_code >= 400:
            await response.http_response.aread()  # the SDK reads it again when it makes its error
        return Reply(response.http_response)

    @property
    def last_error(self) -> AsyncAPIResponse[Any] | None:
        """The last response, when it has an error status."""
        return self._last if self._last is not None and self._last.status_code >= 400 else None

    def response(self, reply: Reply) -> AsyncAPIResponse[Any]:
        """The SDK's response behind `reply`, which is the last one."""
        assert self._last is not None
        return self._last

    def streamed(self, body: _Body) -> AsyncAPIResponse[Any]:
        """A response like the last one, with `body` for its body."""
        last = self._last
        assert last is not None
        headers = last.http_response.headers.copy()
        for name in ("content-encoding", "content-length"):
            if name in headers:
                del headers[name]
        return AsyncAPIResponse(
            raw=httpx2.Response(
                status_code=200, headers=headers, stream=body, request=last.http_response.request
            ),
            cast_to=last._cast_to,
            client=last._client,
            stream=True,
            stream_cls=last._stream_cls,
            options=last._options,
            retries_taken=last.retries_taken,
        )


class _Body(httpx2.AsyncByteStream):
    """The mended stream as bytes."""

    def __init__(self, stream: Stream, relay: Relay) -> None:
        self._stream = stream
        self._relay = relay

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stream, relay = self._stream, self._relay
        while await stream.read() is not None:
            if data := relay.take():
                yield data
        answer = stream.answer
        relay.end(answer.message, answer.usage)
        yield relay.take()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _path(url: str) -> str:
    return url.partition("?")[0]


def _check_retries(request: APIRequest, call_next: AsyncCallNext) -> None:
    """Raises ValueError for a client that retries by itself."""
    asked = request.max_retries
    if isinstance(asked, int):
        if asked != 0:
            raise ValueError(f"ResilienceMiddleware needs max_retries=0, and this call was made with {asked}")
    elif (client := _client_behind(call_next)) is not None:
        check_sdk(client)
    if request.retries_taken:
        raise ValueError("ResilienceMiddleware needs max_retries=0, and the SDK has retried this call")


def _client_behind(call_next: Any, depth: int = 8) -> Any:
    """The SDK client at the end of the chain. The SDK does not tell middleware whose it is; its closures do."""
    for _ in range(depth):
        following = None
        for cell in getattr(call_next, "__closure__", None) or ():
            value = cell.cell_contents
            if hasattr(value, "max_retries") and hasattr(value, "base_url"):
                return value
            if callable(value) and hasattr(value, "__closure__"):
                following = value
        if following is None:
            return None
        call_next = following
    return None
