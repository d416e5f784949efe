"""Send single requests through the SDK. Imports anthropic when the first client starts."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from prodkit.errors import MissingExtraError
from prodkit.llm.anthropic_internals import hold_back_prompts, observe
from prodkit.llm.provider import Reply

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

__all__ = ["SdkProvider", "SdkReply", "build_sdk", "check_sdk"]


class SdkReply:
    """One HTTP response of the SDK's HTTP library."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def body(self) -> bytes:
        """Read the whole body."""
        content: bytes = await self._response.aread()
        return content

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the body as it arrives."""
        chunks: AsyncIterator[bytes] = self._response.aiter_bytes()
        return chunks

    async def aclose(self) -> None:
        """Give the connection back, or close it where the body was not read to its end."""
        await self._response.aclose()


def http_client(connections: int) -> tuple[Any, Any]:
    """Return an HTTP client for the SDK and its timeouts: no read timeout, a pool as large as our own limit."""
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
    return anthropic.DefaultAsyncHttpxClient(limits=limits, timeout=timeout), timeout


def build_sdk(api_key: str, base_url: str | None, *, connections: int) -> AsyncAnthropic:
    """Return an SDK client with its retries off."""
    client, timeout = http_client(connections)
    import anthropic

    return anthropic.AsyncAnthropic(
        api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout, http_client=client
    )


def check_sdk(client: Any) -> None:
    """Raise ValueError for an SDK client that retries by itself: nine requests where three were meant."""
    retries = getattr(client, "max_retries", None)
    if retries != 0:
        raise ValueError(
            f"the SDK client must be made with max_retries=0, got max_retries={retries!r}: "
            "its retries would multiply ours and hide them from the log"
        )


class SdkProvider:
    """Sends through ``messages.create`` of an asynchronous SDK client.

    Args:
        make: returns the SDK client; called once, before the first request.
        name: the provider's name in records.
        own: True when :meth:`aclose` closes the SDK client.
        log_prompts: True lets the SDK's DEBUG logging write prompts.
        reply: makes a reply of a response of the SDK's HTTP library.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        *,
        name: str = "anthropic",
        own: bool = True,
        log_prompts: bool = False,
        reply: Callable[[Any], Reply] = SdkReply,
    ) -> None:
        self.name = name
        self._make = make
        self._own = own
        self._log_prompts = log_prompts
        self._sdk: Any = None
        self._create: Any = None
        self._known: frozenset[str] = frozenset()
        self._raised: type[Exception] = Exception
        self._reply = reply

    @property
    def sdk(self) -> Any:
        """The SDK client."""
        if self._sdk is None:
            client = self._make()
            check_sdk(client)
            from anthropic import APIStatusError

            self._create = client.messages.with_raw_response.create
            self._known = frozenset(inspect.signature(client.messages.create).parameters) - {"stream"}
            self._raised = APIStatusError
            observe(client)
            if not self._log_prompts:
                hold_back_prompts()
            self._sdk = client
        return self._sdk

    async def send(self, params: Mapping[str, Any], stream: bool, /) -> Reply:
        """Send one request. Parameters that the SDK does not know travel in the body as they are."""
        if self._sdk is None:
            _ = self.sdk
        try:
            response = await self._create(**_sorted(params, self._known), stream=stream)
        except self._raised as error:
            return SdkReply(error.response)  # type: ignore[attr-defined]
        return self._reply(response.http_response)

    async def count(self, params: Mapping[str, Any], stream: bool, /) -> Reply:
        """Ask for the number of tokens of a request; parameters that only matter to the answer are left out."""
        messages = self.sdk.messages
        accepted = frozenset(inspect.signature(messages.count_tokens).parameters)
        return await self.raw(
            messages.with_raw_response.count_tokens,
            **{name: value for name, value in params.items() if name in accepted},
        )

    async def raw(self, method: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Reply:
        """Call a ``with_raw_response`` method of the SDK; an error status comes back as a reply."""
        try:
            response = await method(*args, **kwargs)
        except self._raised as error:
            return SdkReply(error.response)  # type: ignore[attr-defined]
        return SdkReply(response.http_response)

    async def streamed(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Reply:
        """Call a ``with_streaming_response`` method of the SDK; the reply's :meth:`Reply.aclose` ends it."""
        try:
            response = await method(*args, **kwargs).__aenter__()
        except self._raised as error:
            return SdkReply(error.response)  # type: ignore[attr-defined]
        return SdkReply(response.http_response)

    async def aclose(self) -> None:
        """Close the SDK client, unless it is the caller's own."""
        sdk, self._sdk = self._sdk, None
        if sdk is not None and self._own:
            await sdk.close()


def _sorted(params: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Return `params` as arguments of the SDK's function; unknown ones go into ``extra_body``."""
    arguments: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in params.items():
        (arguments if name in known else extra)[name] = value
    if extra:
        arguments["extra_body"] = {**(arguments.get("extra_body") or {}), **extra}
    return arguments
