"""The second face: a middleware for code that keeps the SDK's client. Loads anthropic when it is imported."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from prodkit.core.check import CheckResult
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import LlmError, MissingExtraError
from prodkit.llm.anthropic_internals import client_behind, hold_back_prompts, observe, response_parts
from prodkit.llm.call import Call
from prodkit.llm.completion import run_whole
from prodkit.llm.engine import Accounts, Engine
from prodkit.llm.options import DEFAULT_MODELS, Model, Options, chain
from prodkit.llm.pricing import Budget, Price
from prodkit.llm.provider import Reply, Send
from prodkit.llm.results import message_of
from prodkit.llm.streaming.encoder import Encoder
from prodkit.llm.streaming.stream import Stream
from prodkit.llm.sync_sender import Background, SyncSender, encoded_headers, with_body
from prodkit.llm.transport import SdkReply, check_sdk
from prodkit.policies.shared_state import SharedState

try:
    import httpx2
    from anthropic import APIRequest, APIResponse, AsyncAPIResponse, AsyncCallNext, CallNext, Middleware
except ImportError:
    raise MissingExtraError.named("anthropic", "llm") from None

__all__ = ["ResilienceMiddleware"]

_PATH: Final = "/v1/messages"


class ResilienceMiddleware(Middleware):
    """Gives ``AsyncAnthropic`` and ``Anthropic`` what :class:`Client` has: attempts, fallback, breakers, whole streams.

    ::

        claude = AsyncAnthropic(max_retries=0, middleware=[ResilienceMiddleware()])
        claude = Anthropic(max_retries=0, middleware=[ResilienceMiddleware()])

    It handles ``messages.create`` and ``messages.stream``; other calls pass untouched. The model of a call is asked
    first, then those that follow it in `models`; a model that is not among them is asked alone, without fallback. The
    client must be made with ``max_retries=0``: the first call raises ValueError otherwise.

    An error with an HTTP status that ends a call reaches the caller as the SDK's own error; a failure without one (a
    timeout, a truncated stream) as :class:`LlmError`. Events pass unchanged, with fields and blocks that are not known
    here; thinking is held until its block is complete.

    With the synchronous client, waits and timers run on a background loop and requests in threads of their own, at
    most `concurrency` at once; a Deadline of the calling thread counts.

    Args:
        models: the fallback chain; a model with a provider of its own is refused, the SDK client is the provider.
        prices: US dollars a million tokens by model name.
        budget: a hard limit in US dollars, or a :class:`Budget` shared by several clients.
        shared: shares the breakers between processes.
        ledger: accounts costs by caller; the caller is the request's ``metadata.user_id``.
        stream_tools: pass the input of tool calls on as it arrives. A cut in a call is then continued when the model
            repeats the same input, and an error otherwise. False holds a call until it is complete.
        log_prompts: let the SDK's DEBUG logging write whole requests, prompts included.
        runtime: clock, chance and events.
        **options: those of :class:`Client`: attempts, timeout, first_content_timeout, stall_timeout …
    """

    name: str = "llm"

    def __init__(
        self,
        *,
        models: Sequence[str | Model] = DEFAULT_MODELS,
        prices: Mapping[str, Price] | None = None,
        budget: Budget | float | None = None,
        shared: SharedState | None = None,
        ledger: Accounts | None = None,
        stream_tools: bool = True,
        log_prompts: bool = False,
        runtime: Runtime = SYSTEM,
        **options: Any,
    ) -> None:
        made = chain(models, prices, strict=False)
        if other := [model.label for model in made if model.provider is not None]:
            raise ValueError(
                f"the SDK client is the only provider here; use llm.Client for {', '.join(other)}"
            )
        self.options: Options = Options(
            models=made,
            budget=Budget(budget) if isinstance(budget, int | float) else budget,
            **options,
        )
        self.runtime: Runtime = runtime
        self._shared = shared
        self._ledger = ledger
        self._stream_tools = stream_tools
        self._observed: set[int] = set()
        self._engines: dict[tuple[str, bool], Engine] = {}  # by model ("" is the chain) and face
        self._background: Background | None = None
        if not log_prompts:
            hold_back_prompts()

    async def check(self) -> CheckResult:
        """Return the health without sending anything."""
        return await self._engine_of(None, sync=False).check()

    async def handle_async(self, request: APIRequest, call_next: AsyncCallNext) -> AsyncAPIResponse[Any]:
        """Handle one `request` of the SDK; `call_next` is the rest of its chain."""
        body = request.json
        if not self._handles(request) or not isinstance(body, Mapping):
            return await call_next(request)
        self._prepare(request, call_next, sync=False)
        params: dict[str, Any] = {name: value for name, value in body.items() if name != "stream"}
        engine = self._engine_of(params.get("model"), sync=False)
        sender = _Sender(request, call_next)
        try:
            if request.stream:
                stream, encoder = await self._open(engine, params, sender.send)
                return sender.streamed(_Body(stream, encoder))
            await self._whole(engine, params, sender.send)
        except LlmError:
            if (last := sender.last) is not None and last.status_code >= 400:
                return last
            raise
        assert sender.last is not None
        return sender.last

    def handle(self, request: APIRequest, call_next: CallNext) -> APIResponse[Any]:
        """Handle one `request` of the synchronous SDK client; `call_next` is the rest of its chain."""
        body = request.json
        if not self._handles(request) or not isinstance(body, Mapping):
            return call_next(request)
        self._prepare(request, call_next, sync=True)
        params: dict[str, Any] = {name: value for name, value in body.items() if name != "stream"}
        engine = self._engine_of(params.get("model"), sync=True)
        if self._background is None:
            self._background = Background(self.options.concurrency)
        background = self._background
        limit = max(self.options.first_content_timeout, self.options.stall_timeout)
        sender = SyncSender(background, request, call_next, limit if request.stream else self.options.timeout)
        try:
            if request.stream:
                stream, encoder = background.portal.call(self._open, engine, params, sender.send)
                return sender.streamed(stream, encoder)
            background.portal.call(self._whole, engine, params, sender.send)
        except LlmError:
            if (last := sender.last) is not None and last.status_code >= 400:
                return last
            raise
        assert sender.last is not None
        return sender.last

    async def _whole(self, engine: Engine, params: dict[str, Any], send: Send) -> None:
        call = Call(engine, params, "create", timeout=self.options.timeout, caller=_caller(params))
        _, attempt, _ = await run_whole(call, message_of, send=send)
        call.report.finished("ok", model=attempt.label)

    async def _open(self, engine: Engine, params: dict[str, Any], send: Send) -> tuple[Stream, Encoder]:
        call = Call(engine, params, "stream", timeout=None, caller=_caller(params))
        encoder = Encoder(stream_tools=self._stream_tools)
        stream = Stream(call, send=send, encoder=encoder)
        await stream.open()
        return stream, encoder

    def _handles(self, request: APIRequest) -> bool:
        return request.method.lower() == "post" and request.url.partition("?")[0] == _PATH

    def _prepare(self, request: APIRequest, call_next: Any, *, sync: bool) -> None:
        """Raise ValueError for a client that retries by itself, and observe its connections."""
        client = client_behind(call_next)
        asked = request.max_retries
        if isinstance(asked, int):
            if asked != 0:
                raise ValueError(
                    f"ResilienceMiddleware needs max_retries=0, and this call was made with {asked}"
                )
        elif client is not None:
            check_sdk(client)
        if request.retries_taken:
            raise ValueError("ResilienceMiddleware needs max_retries=0, and the SDK has retried this call")
        if client is not None and id(client) not in self._observed:
            self._observed.add(id(client))
            observe(client, sync=sync)

    def _engine_of(self, model: Any, *, sync: bool) -> Engine:
        """Return the engine for `model`: the chain's, or one of its own for a model that is not in the chain.

        Each face has its own, because a queue belongs to one event loop.
        """
        known = model is None or any(model == each.name for each in self.options.models)
        key = ("" if known else str(model), sync)
        if key not in self._engines:
            options = (
                self.options if known else replace(self.options, models=(Model(str(model)),), budget=None)
            )
            self._engines[key] = Engine(
                options, shared=self._shared, runtime=self.runtime, ledger=self._ledger
            )
        return self._engines[key]


def _caller(params: Mapping[str, Any]) -> str:
    metadata = params.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    return user if isinstance(user, str) else ""


class _Sender:
    """Sends through the rest of the SDK's chain and remembers the SDK's last response."""

    def __init__(self, request: APIRequest, call_next: AsyncCallNext) -> None:
        self._request = request
        self._call_next = call_next
        self.last: AsyncAPIResponse[Any] | None = None

    async def send(self, params: Mapping[str, Any], stream: bool, /) -> Reply:
        self.last = None
        self.last = response = await self._call_next(with_body(self._request, params, stream))
        if stream and response.status_code >= 400:
            await response.http_response.aread()  # the SDK reads it again when it makes its error
        return SdkReply(response.http_response)

    def streamed(self, body: _Body) -> AsyncAPIResponse[Any]:
        """Return a response like the last one, with `body` for its body."""
        last = self.last
        assert last is not None
        http = last.http_response
        raw = httpx2.Response(
            status_code=200, headers=encoded_headers(http.headers), stream=body, request=http.request
        )
        return AsyncAPIResponse(raw=raw, stream=True, **response_parts(last))


class _Body(httpx2.AsyncByteStream):
    """The continued stream as bytes."""

    def __init__(self, stream: Stream, encoder: Encoder) -> None:
        self._stream = stream
        self._encoder = encoder

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            text = await self._stream.advance()
            if data := self._encoder.take():
                yield data
            if text is None:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()
