"""Rate limits around a whole app, for one route, and as a FastAPI dependency.

For one route: ``await web.enforce(limiter, (UPLOAD, user_id))`` in the handler. A refusal becomes a 429 in the reader's
language with ``Retry-After`` and the ``RateLimit`` fields.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

from starlette.exceptions import WebSocketException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.ratelimit import Decision, client_ip, headers, limits as limits_of
from prodkit.web.asgi import headers as request_headers, matches, on_start, prefixes
from prodkit.web.errors import Problems
from prodkit.web.problem import LimitReachedError

__all__ = ["Limiter", "RateLimitMiddleware", "RateLimits", "client_key", "enforce"]

_FREE_METHODS: Final = ("HEAD", "OPTIONS")
_TRY_AGAIN_LATER: Final = 1013  # WebSocket close code


class Limiter(Protocol):
    """``prodkit.ratelimit.RateLimiter``, or anything that decides on pairs of a limit and a key."""

    async def check(self, *pairs: Any, cost: int = 1) -> Decision:
        """Count one call against all pairs, or against none where one refuses.

        Args:
            pairs: a limit and a key each.
            cost: the quota to take; 0 looks without taking.
        """
        ...


async def enforce(limiter: Limiter, *pairs: Any, cost: int = 1) -> Decision:
    """Count a call against `pairs` and return the decision when it is allowed.

    Args:
        limiter: counts the call.
        pairs: a limit and a key each.
        cost: the quota to take; 0 looks without taking.

    Raises:
        RateLimitedError: a limit refused. The error pages answer it with 429, or with 503 where a limit must not be
            passed unchecked and Redis is away.
    """
    decision = await (limiter.check(*pairs) if cost == 1 else limiter.check(*pairs, cost=cost))
    if not decision.allowed:
        raise LimitReachedError.of(decision)
    return decision


def client_key(scope: Scope, *, trusted_proxies: Sequence[str] = ()) -> str:
    """Return the client's address; an IPv6 one as its /64, the share of one customer.

    Args:
        scope: of the request.
        trusted_proxies: networks whose ``X-Forwarded-For`` counts. Without them it is the peer of the connection,
            which a server may have set already (uvicorn ``--proxy-headers --forwarded-allow-ips``).
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


@lru_cache(maxsize=32)
def _name(field: str) -> bytes:
    return field.lower().encode()


class RateLimitMiddleware:
    """Counts each request against `limits`, by `key`, and answers 429 when one is used up.

    A WebSocket counts when it connects; one that is refused is closed before it is accepted. Responses carry the
    ``RateLimit`` fields, except redirects: a client might follow one that costs nothing.

    Args:
        app: the app behind it.
        limiter: counts the requests.
        limits: every request counts against all of them.
        key: returns the caller of a scope; the client's address by default.
        only: path prefixes to which it applies; all by default.
        skip: path prefixes to which it does not.
        free_methods: methods that are not counted. HEAD and OPTIONS by default: a preflight that is refused breaks
            the page.
        message_limits: limits for the messages that a WebSocket client sends, counted by the same key; a client that
            passes one is disconnected with code 1013.
        legacy_headers: also send ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset``.
        problems: makes the bodies of refusals.
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
        free_methods: Iterable[str] = _FREE_METHODS,
        message_limits: Iterable[Any] = (),
        legacy_headers: bool = False,
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
        self._free = frozenset(method.upper() for method in free_methods)
        self._message_limits = tuple(message_limits)
        self._legacy = legacy_headers
        self._problems = problems or Problems()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] not in ("http", "websocket")
            or scope.get("method") in self._free
            or matches(scope, self._skip)
            or (self._only and not matches(scope, self._only))
        ):
            await self.app(scope, receive, send)
            return
        key = self._key(scope)
        decision = await self._limiter.check(*[(limit, key) for limit in self._limits])
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, decision, key)
            return
        if not decision.allowed:
            response = await self._problems.error(LimitReachedError.of(decision), scope)
            await response(scope, receive, send)
            return

        def counted(message: Message) -> None:
            if not 300 <= message["status"] < 400:
                fields = headers(decision, legacy=self._legacy)
                pairs = [(_name(name), value.encode()) for name, value in fields.items()]
                message["headers"] = [*message.get("headers", ()), *pairs]

        send, hooks = on_start(scope, send, counted)
        try:
            await self.app(scope, receive, send)
        finally:
            hooks.pop()

    async def _websocket(
        self, scope: Scope, receive: Receive, send: Send, decision: Decision, key: str
    ) -> None:
        if not decision.allowed:
            await receive()  # websocket.connect
            if "websocket.http.response" in scope.get("extensions", {}):
                response = await self._problems.error(LimitReachedError.of(decision), scope)
                start = {
                    "type": "websocket.http.response.start",
                    "status": response.status_code,
                    "headers": response.raw_headers,
                }
                await send(start)
                await send({"type": "websocket.http.response.body", "body": bytes(response.body)})
            else:
                await send(
                    {"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": "rate limit reached"}
                )
            return
        if not self._message_limits:
            await self.app(scope, receive, send)
            return
        refused = ended = False

        async def counted() -> Message:
            nonlocal refused
            if not refused:
                message = await receive()
                if message["type"] != "websocket.receive":
                    return message
                answer = await self._limiter.check(*((limit, key) for limit in self._message_limits))
                if answer.allowed:
                    return message
                refused = True
                if not ended:
                    close = {"code": _TRY_AGAIN_LATER, "reason": "rate limit reached"}
                    await send({"type": "websocket.close", **close})
            return {"type": "websocket.disconnect", "code": _TRY_AGAIN_LATER, "reason": "rate limit reached"}

        async def until_closed(message: Message) -> None:
            nonlocal ended
            if not refused:
                ended = message["type"] == "websocket.close"
                await send(message)

        await self.app(scope, counted, until_closed)


class RateLimits:
    """Rate limits as dependencies of FastAPI.

    ::

        limits = web.RateLimits(limiter, user=lambda request: request.state.user_id)

        @app.post("/ask", dependencies=[Depends(limits.per_user("10/hour; 100/day"))], responses=limits.responses)
        async def ask() -> Answer: ...

    A refusal raises RateLimitedError, which the error pages answer with 429; admitted responses carry the
    ``RateLimit`` fields. HEAD and OPTIONS are answered without being counted. A WebSocket route counts when it
    connects; a refusal closes it with code 1013 before it is accepted.

    Args:
        limiter: counts the requests.
        user: returns the caller of a request, or None for one who is not known, who then counts by address.
        trusted_proxies: networks whose ``X-Forwarded-For`` counts.
        legacy_headers: also send the ``X-RateLimit-*`` fields.
    """

    def __init__(
        self,
        limiter: Limiter,
        *,
        user: Callable[[Any], Any] | None = None,
        trusted_proxies: Sequence[str] = (),
        legacy_headers: bool = False,
    ) -> None:
        self._limiter = limiter
        self._user = user
        self._proxies = tuple(trusted_proxies)
        self._legacy = legacy_headers
        self.responses: dict[int | str, dict[str, Any]] = {
            429: {
                "description": "A rate limit was reached; come back after `Retry-After` seconds.",
                "headers": {"Retry-After": {"schema": {"type": "integer"}}},
                "content": {"application/problem+json": {"schema": {"type": "object"}}},
            }
        }

    def per_user(self, rates: str, *, name: str = "", **options: Any) -> Callable[..., Awaitable[Decision]]:
        """Return a dependency that counts by user.

        Args:
            rates: such as ``"10/hour; 100/day"``, see :func:`prodkit.ratelimit.limits`.
            name: of the limits; routes with one name share their counters.
            options: further arguments of :class:`prodkit.ratelimit.Limit`.
        """
        if self._user is None:
            raise ValueError(
                "RateLimits: per_user needs user=, a function that returns the caller of a request"
            )
        return self._dependency(rates, name, options, self._of_user)

    def per_ip(self, rates: str, *, name: str = "", **options: Any) -> Callable[..., Awaitable[Decision]]:
        """Return a dependency that counts by the client's address.

        Args:
            rates: such as ``"10/hour; 100/day"``, see :func:`prodkit.ratelimit.limits`.
            name: of the limits; routes with one name share their counters.
            options: further arguments of :class:`prodkit.ratelimit.Limit`.
        """
        return self._dependency(rates, name, options, self._of_address)

    def _dependency(
        self, rates: str, name: str, options: dict[str, Any], key: Callable[[HTTPConnection], Any]
    ) -> Callable[..., Awaitable[Decision]]:
        limits = limits_of(rates, name, **options)

        async def count(connection: HTTPConnection, response: Response) -> Decision:
            caller, scope = key(connection), connection.scope
            pairs = [(limit, caller) for limit in limits]
            if scope["type"] == "websocket":
                decision = await self._limiter.check(*pairs)
                if not decision.allowed:
                    raise WebSocketException(_TRY_AGAIN_LATER, "rate limit reached")
                return decision
            if scope["method"] in _FREE_METHODS:
                decision = await self._limiter.check(*pairs, cost=0)
            else:
                decision = await enforce(self._limiter, *pairs)
            for field, value in headers(decision, legacy=self._legacy).items():
                response.headers[field] = value
            return decision

        return count

    def _of_address(self, request: HTTPConnection) -> str:
        return client_key(request.scope, trusted_proxies=self._proxies)

    def _of_user(self, request: HTTPConnection) -> Any:
        user = None if self._user is None else self._user(request)
        return f"ip:{self._of_address(request)}" if user is None else user
