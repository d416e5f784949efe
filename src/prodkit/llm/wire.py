"""The seam to the SDK: one function that sends one request, and what comes back. Imports anthropic when started."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from prodkit.errors import MissingExtraError

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic._response import AsyncAPIResponse

__all__ = ["Reply", "SdkWire", "Send", "build_sdk", "check_sdk"]


class Reply:
    """One HTTP answer: status, headers, and either a body or chunks of a body."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: Any) -> None:
        self._response = response
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers

    @property
    def is_event_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    async def body(self) -> bytes:
        """The whole body."""
        content: bytes = await self._response.aread()
        return content

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        chunks: AsyncIterator[bytes] = self._response.aiter_bytes()
        return chunks

    async def aclose(self) -> None:
        """Gives the connection back, or closes it when the body was not read to its end."""
        await self._response.aclose()


Send: TypeAlias = Callable[[Mapping[str, Any], bool], Awaitable[Reply]]
"""Sends a request body, streamed or not. Error statuses come back as replies; only transport errors raise."""

_OPTIONS: Final = frozenset(("extra_headers", "extra_query", "extra_body", "timeout"))


def build_sdk(api_key: str, base_url: str | None, *, connections: int) -> AsyncAnthropic:
    """An SDK client with retries off, no read timeout of its own, and a pool as large as our own limit."""
    try:
        import anthropic
        import httpx2
    except ImportError:
        raise MissingExtraError.named("anthropic", "llm") from None
    limits = httpx2.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=5
    )
    # Connecting and sending have limits of their own; waiting for the answer is limited by the caller's timers.
    timeout = httpx2.Timeout(connect=5.0, read=None, write=30.0, pool=None)
    return anthropic.AsyncAnthropic(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        timeout=timeout,
        http_client=anthropic.DefaultAsyncHttpxClient(limits=limits, timeout=timeout),
    )


def check_sdk(client: Any) -> None:
    """Raises ValueError for an SDK client that retries by itself: nine requests where three were meant."""
    retries = getattr(client, "max_retries", None)
    if retries != 0:
        raise ValueError(
            f"the SDK client must be made with max_retries=0, got max_retries={retries!r}: "
            "its retries would multiply ours and hide them from the log"
        )


class SdkWire:
    """Sends through ``AsyncAnthropic.messages``."""

    __slots__ = ("_count", "_countable", "_create", "_known", "_raised", "client")

    def __init__(self, client: AsyncAnthropic) -> None:
        from anthropic import APIStatusError

        check_sdk(client)
        self.client = client
        raw = client.messages.with_raw_response
        self._create = raw.create
        self._known = frozenset(inspect.signature(client.messages.create).parameters) - {"stream"}
        self._count = raw.count_tokens
        self._countable = frozenset(inspect.signature(client.messages.count_tokens).parameters)
        self._raised = APIStatusError

    async def send(self, params: Mapping[str, Any], stream: bool) -> Reply:
        """Sends one request. Parameters that the SDK does not know travel in the body as they are."""
        known = _sorted(params, self._known)
        try:
            response: AsyncAPIResponse[Any] = await self._create(**known, stream=stream)
        except self._raised as error:
            return Reply(error.response)
        return Reply(response.http_response)

    async def count(self, params: Mapping[str, Any], stream: bool) -> Reply:
        """Asks how many tokens a request has. What only matters to the answer is left out."""
        told = {name: value for name, value in params.items() if name in self._countable}
        try:
            response: AsyncAPIResponse[Any] = await self._count(**told)
        except self._raised as error:
            return Reply(error.response)
        return Reply(response.http_response)


def _sorted(params: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """`params` as arguments of the SDK's function: what it does not know goes into ``extra_body``."""
    told: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in params.items():
        (told if name in known else extra)[name] = value
    if extra:
        told["extra_body"] = {**(told.get("extra_body") or {}), **extra}
    return told
