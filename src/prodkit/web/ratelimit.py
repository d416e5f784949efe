"""Rate limits around a whole app, and for one route.

For one route: ``await web.enforce(limiter, (UPLOAD, user_id))`` in the handler. A refusal becomes a 429 in the
reader's language with ``Retry-After`` and the ``RateLimit`` fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.ratelimit import Decision, client_ip, headers
from prodkit.web.asgi import headers as request_headers, matches, prefixes
from prodkit.web.errors import Problems
from prodkit.web.problem import LimitReachedError

__all__ = ["Limiter", "RateLimitMiddleware", "client_key", "enforce"]


class Limiter(Protocol):
    """``prodkit.ratelimit.RateLimiter``, or anything that decides on pairs of a limit and a key."""

    async def check(self, *pairs: Any) -> Decision:
        """Counts one call against all pairs, or against none where one refuses."""
        ...


async def enforce(limiter: Limiter, *pairs: Any) -> Decision:
    """Counts a call against `pairs` of a limit and a key; the decision, when it is allowed.

    Raises RateLimitedError, which the error pages answer with 429 (or with 503, where a limit must not be passed
    unchecked and Redis is away).
    """
    decision = await limiter.check(*pairs)
    if not decision.allowed:
        raise LimitReachedError.of(decision)
    return decision


def client_key(scope: Scope, *, trusted_proxies: Sequence[str] = ()) -> str:
    """The client's address; an IPv6 one as its /64, which is what one customer has.

    `trusted_proxies` are the networks whose ``X-Forwarded-For`` counts. Without them it is the peer of the
    connection, which a server may have set already (uvicorn ``--proxy-headers --forwarded-allow-ips``).
    """
    client = scope.get("client")
    peer = str(client[0]) if client else ""
    if not trusted_proxies:
        return _counted(peer)
    forwarded = [value.decode("latin-1") for value in request_headers(scope, b"x-forwarded-for")]
    return client_ip(peer, forwarded, trusted_proxies=trusted_proxies) or peer or "unknown"


@lru_cache(maxsize=4096)
def _counted(peer: str) -> str:
    return client_ip(peer) or peer or "unknown"


class RateLimitMiddleware:
    """Counts each request against `limits`, by `key`, and answers 429 when one is used up.

    `only` are the path prefixes it applies to (all by default), `skip` those it does not. Responses carry the
    ``RateLimit`` fields, save for redirects: a client might follow one that costs nothing.
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
        decision = await self._limiter.check(*((limit, key) for limit in self._limits))
        if not decision.allowed:
            response = await self._problems.error(LimitReachedError.of(decision), scope)
            await response(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and not 300 <= message["status"] < 400:
                fields = [
                    (name.lower().encode(), value.encode()) for name, value in headers(decision).items()
                ]
                message["headers"] = [*message.get("headers", ()), *fields]
            await send(message)

        await self.app(scope, receive, counted)
