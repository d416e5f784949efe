"""What the web middleware costs on an anonymous request: ratios to ONE BaseHTTPMiddleware layer, in one run.

    python benchmarks/web_middleware.py                 # all layers
    python benchmarks/web_middleware.py --rounds 60

Requests are raw ASGI scopes, without sockets. Each figure is the median over rounds of (layer - bare) divided by
(one BaseHTTPMiddleware layer - bare), the three measured one after the other within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response

from prodkit import web
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.redis import RedisLink
from prodkit.sessions import CsrfTokens, MemoryStore, Sessions

App = Callable[..., Any]
GOAL = 0.35


async def bare(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Nothing(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response


def layers() -> dict[str, Callable[[App], App]]:
    accounts = Sessions(MemoryStore(), secret="only-a-benchmark-0123456789-abcdefgh")
    limiter = RateLimiter(RedisLink(None))
    limits = [Limit("1000000/min", name="all")]
    problems = web.Problems()
    drain = web.Drain()
    return {
        "proxies": lambda app: web.ProxyMiddleware(app, trusted=["10.0.0.0/8"]),
        "drain": lambda app: web.DrainMiddleware(app, drain=drain),
        "request id": lambda app: web.RequestIdMiddleware(app),
        "security headers": lambda app: web.SecurityHeadersMiddleware(app),
        "errors": lambda app: web.ErrorMiddleware(app, problems=problems),
        "deadline": lambda app: web.DeadlineMiddleware(app, seconds=20),
        "admission": lambda app: web.AdmissionMiddleware(app, admission=web.Admission(), sessions=accounts),
        "body limit": lambda app: web.BodyLimitMiddleware(app),
        "rate limit": lambda app: web.RateLimitMiddleware(app, limiter=limiter, limits=limits),
        "sessions": lambda app: web.SessionMiddleware(
            app, sessions=accounts, skip=("/static/", "/api/health")
        ),
        "sockets": lambda app: web.SocketMiddleware(app, drain=drain),
        "csrf": lambda app: web.CsrfMiddleware(app, tokens=CsrfTokens(accounts.csrf_keys)),
    }


def scope() -> dict[str, Any]:
    return {
        "type": "http", "method": "GET", "path": "/", "scheme": "https", "query_string": b"",
        "client": ("203.0.113.9", 1), "state": {},
        "headers": [(b"host", b"kit.example"), (b"user-agent", b"x" * 100), (b"accept", b"text/html"),
                    (b"accept-language", b"pt-BR"), (b"sec-fetch-site", b"none"), (b"cookie", b"theme=dark")],
    }  # fmt: skip


async def spent(app: App, calls: int) -> float:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    began = time.perf_counter()
    for _ in range(calls):
        await app(scope(), receive, send)
    return (time.perf_counter() - began) / calls


async def main(rounds: int, calls: int) -> int:
    made = layers()
    everything: App = bare
    for wrap in reversed(made.values()):
        everything = wrap(everything)
    cases: dict[str, App] = {name: wrap(bare) for name, wrap in made.items()}
    cases["all together"] = everything
    base = Nothing(bare)
    ratios: dict[str, list[float]] = {name: [] for name in cases}
    costs: dict[str, list[float]] = {name: [] for name in cases}
    for case in (base, everything):
        await spent(case, calls)  # warm
    for _ in range(rounds):
        gc.collect()
        for name, case in cases.items():
            floor, one, ours = await spent(bare, calls), await spent(base, calls), await spent(case, calls)
            ratios[name].append((ours - floor) / (one - floor))
            costs[name].append(ours - floor)
    print(f"{'layer':<20}{'of one BaseHTTPMiddleware':>28}{'microseconds':>15}")
    for name in cases:
        print(
            f"{name:<20}{statistics.median(ratios[name]):>28.3f}{statistics.median(costs[name]) * 1e6:>15.1f}"
        )
    found = statistics.median(ratios["all together"])
    print(f"goal: all together at most {GOAL}: {'held' if found <= GOAL else 'MISSED'}")
    return 0 if found <= GOAL else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    sys.exit(asyncio.run(main(options.rounds, options.calls)))
