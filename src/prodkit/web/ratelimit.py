"""Rate limits around a whole app or a part of it.

For one route, ask the limiter in the handler: ``(await limiter.check((COUNCIL, user_id))).raise_if_denied()``; the
error becomes a 429 with ``Retry-After`` in :class:`~prodkit.web.ErrorMiddleware`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from prodkit.errors import RateLimitedError, UnavailableError
from prodkit.web.asgi import matches, prefixes
from prodkit.web.errors import Problems

__all__ = ["Limiter", "RateLimitMiddleware", "Verdict", "client_key"]


class Verdict(Protocol):
    """What the middleware reads of a decision."""

    @property
    def allowed(self) -> bool: ...
    @property
    def retry_after(self) -> float: ...
    @property
    def unavailable(self) -> bool: ...


class Limiter(Protocol):
    """``prodkit.ratelimit.RateLimiter``, or anything that decides on pairs of a limit and a key."""

    async def check(self, *pairs: Any) -> Verdict: ...


def client_key(scope: Scope) -> str:
    """The client's address; an IPv6 one as its /64, which is what one customer has.

    It is the peer of the connection: behind a proxy, let the server read the forwarded address
    (uvicorn ``--proxy-headers --forwarded-allow-ips``).
    """
    client = scope.get("client")
    host = str(client[0]) if client else "unknown"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6:
        mapped = address.ipv4_mapped
        return (
            str(mapped) if mapped else str(ipaddress.ip_network((address, 64), strict=False).network_address)
        )
    return host


class RateLimitMiddleware:
    """Counts each request against `limits`, by `key`, and answers 429 when one is used up.

    `only` are the path prefixes it applies to (all by default), `skip` those it does not. While the limiter cannot
    decide and a limit says to deny then, the answer is 503.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limiter: Limiter,
        limits: Iterable[Any],
        key: Callable[[Scope], str] = client_key,
        only: Iterable[str] = (),
        skip: Iterable[str] = (),
        problems: Problems | None = None,
    ) -> None:
        self.app = app
        self._limiter = limiter
        self._limits = tuple(limits)
        if not self._limits:
            raise ValueError("RateLimitMiddleware needs at least one limit")
        self._key = key
        self._only = prefixes(only, "only")
        self._skip = prefixes(skip, "skip")
        self._problems = problems or Problems()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or matches(scope, self._skip)
            or (self._only and not matches(scope, self._only))
        ):
            await self.app(scope, receive, send)
            return
        key = self._key(scope)
        verdict = await self._limiter.check(*((limit, key) for limit in self._limits))
        if verdict.allowed:
            await self.app(scope, receive, send)
            return
        error: Exception
        if verdict.unavailable:
            error = UnavailableError(
                "the rate limit cannot be checked", retry_after=verdict.retry_after or None
            )
        else:
            error = RateLimitedError("too many requests", retry_after=verdict.retry_after)
        response = await self._problems.error(error, scope)
        await response(scope, receive, send)
