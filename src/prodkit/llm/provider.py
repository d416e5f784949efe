"""The protocol by which a member of the fallback chain sends its requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

__all__ = ["Provider", "Reply", "Send"]


class Reply(Protocol):
    """One HTTP response: status, headers, and either a body or chunks of a body.

    `status` is the HTTP status and `headers` a mapping that finds lower-case names. A successful streamed response
    has the content type ``text/event-stream`` and gives the Server-Sent Events of the Messages API.
    """

    status: int
    headers: Mapping[str, str]

    async def body(self) -> bytes:
        """Read the whole body."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the body as it arrives."""
        ...

    async def aclose(self) -> None:
        """Give the connection back, or close it where the body was not read to its end."""
        ...


@runtime_checkable
class Provider(Protocol):
    """Sends requests of the Messages API somewhere: Anthropic, Bedrock, a gateway, or another SDK behind an adapter.

    It sends once: retries, waits, limits on time and concurrency are the client's. An error status comes back as a
    :class:`Reply`; only what has no HTTP response raises (``OSError``, or errors of the HTTP library). Cancelling
    ``send`` closes the connection. ``prodkit.testing.contracts.provider`` is the suite that an implementation passes.
    """

    name: str

    async def send(self, params: Mapping[str, Any], stream: bool, /) -> Reply:
        """Send the body `params`, whose ``model`` is set, as a whole call or as a `stream`."""
        ...

    async def count(self, params: Mapping[str, Any], stream: bool, /) -> Reply:
        """Send `params` to the token counter; `stream` is always False."""
        ...

    async def aclose(self) -> None:
        """Close the connections that the provider made itself."""
        ...


Send: TypeAlias = Callable[[Mapping[str, Any], bool], Awaitable[Reply]]
"""Sends a request body, streamed or not: ``Provider.send``."""
