"""What the web middleware costs on an anonymous request, as ratios to ONE BaseHTTPMiddleware and to the peers' stack.

Requests are raw ASGI scopes, without sockets; the cost is CPU time beyond the bare app, which is left out: it is less
than 1 % of one BaseHTTPMiddleware.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.harness import Table, ratios, run
from prodkit import web
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.redis import RedisLink
from prodkit.sessions import CsrfTokens, MemoryStore, Sessions

App = Callable[..., Any]
SECRET = "only-a-benchmark-0123456789-abcdefgh"
PEERS = ("starsessions", "starlette-csrf", "slowapi", "asgi-correlation-id")


async def bare(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Nothing(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response


def layers() -> dict[str, Callable[[App], App]]:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    limiter = RateLimiter(RedisLink(None))
    limits = [Limit("1000000/min", name="all")]
    problems = web.Problems()
    drain = web.Drain()
    return {
        "proxies": lambda app: web.ProxyMiddleware(app, trusted=["10.0.0.0/8"]),
        "request events": lambda app: web.RequestEventsMiddleware(app),
        "drain": lambda app: web.DrainMiddleware(app, drain=drain),
        "request id": lambda app: web.RequestIdMiddleware(app),
        "security headers": lambda app: web.SecurityHeadersMiddleware(app),
        "errors": lambda app: web.ErrorMiddleware(app, problems=problems),
        "deadline": lambda app: web.DeadlineMiddleware(app, seconds=20),
        "admission": lambda app: web.AdmissionMiddleware(app, admission=web.Admission(), sessions=accounts),
        "rate limit": lambda app: web.RateLimitMiddleware(app, limiter=limiter, limits=limits),
        "body limit": lambda app: web.BodyLimitMiddleware(app),
        "sessions": lambda app: web.SessionMiddleware(
            app, sessions=accounts, skip=("/static/", "/api/health")
        ),
        "sockets": lambda app: web.SocketMiddleware(app, drain=drain),
        "csrf": lambda app: web.CsrfMiddleware(app, tokens=CsrfTokens(accounts.csrf_keys)),
    }


def around(app: App, names: tuple[str, ...] = ()) -> App:
    """`app` inside the layers of `names`, or inside all of them."""
    for name, wrap in reversed(layers().items()):
        if not names or name in names:
            app = wrap(app)
    return app


def peers(app: App) -> App | None:
    """Sessions, CSRF, rate limit and request id of four libraries; None where one is missing."""
    try:
        from asgi_correlation_id import CorrelationIdMiddleware
        from slowapi import Limiter
        from slowapi.middleware import SlowAPIASGIMiddleware
        from starlette_csrf import CSRFMiddleware
        from starsessions import InMemoryStore, SessionAutoloadMiddleware, SessionMiddleware
    except ImportError:
        return None
    owner: Any = Starlette(routes=[Route("/", lambda request: PlainTextResponse("ok"))])
    owner.state.limiter = Limiter(lambda request: request.client.host, default_limits=["1000000/minute"])
    inner: Any = CSRFMiddleware(app, secret=SECRET)
    inner = SessionMiddleware(SessionAutoloadMiddleware(inner), store=InMemoryStore(), cookie_https_only=True)
    stack: Any = CorrelationIdMiddleware(SlowAPIASGIMiddleware(inner))

    async def owned(scope: Any, receive: Any, send: Any) -> None:
        scope["app"] = owner
        await stack(scope, receive, send)

    return owned


def scope() -> dict[str, Any]:
    return {
        "type": "http", "method": "GET", "path": "/", "scheme": "https", "query_string": b"", "root_path": "",
        "client": ("203.0.113.9", 1), "server": ("kit.example", 443), "state": {},
        "headers": [(b"host", b"kit.example"), (b"user-agent", b"x" * 100), (b"accept", b"text/html"),
                    (b"accept-language", b"pt-BR"), (b"sec-fetch-site", b"none"), (b"cookie", b"theme=dark")],
    }  # fmt: skip


def request(app: App) -> Callable[[], Any]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    async def one() -> None:
        await app(scope(), receive, send)

    return one


async def main() -> Table:
    table = Table(
        "web_middleware", "cost of the web middleware on an anonymous request", packages=("starlette", *PEERS)
    )
    works = {"BaseHTTPMiddleware": request(Nothing(bare)), "ours": request(around(bare))}
    works |= {name: request(around(bare, (name,))) for name in layers()}
    found = await ratios(works, calls=300, rounds=15)
    table.add("all layers ÷ one BaseHTTPMiddleware", found["ours"], ceiling=0.35)
    for name in layers():
        table.add(f"only {name}", found[name])
    if (theirs := peers(bare)) is None:
        table.note("÷ the peers' stack: run with --peers")
    else:
        beside = await ratios({"peers": request(theirs), "ours": request(around(bare))}, calls=300, rounds=15)
        table.add(f"all layers ÷ {' + '.join(PEERS)}", beside["ours"], ceiling=0.2)
    return table


if __name__ == "__main__":
    run(main)
