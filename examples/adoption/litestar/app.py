"""Litestar with prodkit: parts in the lifespan, limits and health in the routes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, Response, get

import prodkit as pk
from prodkit import cache, ratelimit
from prodkit.redis import RedisLink

redis = RedisLink(os.environ.get("REDIS_URL"))
answers = cache.Cache(redis, namespace="shop")
limiter = ratelimit.RateLimiter(redis)
health = pk.Health(redis)
PRICES = ratelimit.Limit("1000/minute", name="price")


@asynccontextmanager
async def lifespan(_: Litestar) -> AsyncIterator[None]:
    async with pk.running(redis, answers):
        yield


async def rate() -> float:
    return 5.4


@get("/price/{product:int}")
async def price(request: Request[Any, Any, Any], product: int) -> Response[dict[str, Any]]:
    client = request.client.host if request.client else ""
    decision = await limiter.check((PRICES, ratelimit.client_ip(client)))
    if not decision.allowed:
        body = {"title": "Too many requests", "status": 429}
        return Response(body, status_code=429, headers={"Retry-After": f"{decision.retry_after:.0f}"})
    with pk.Deadline.after(5):
        euro = await answers.get_or_set("rate:EUR", rate, ttl=60)
    return Response({"product": product, "price": round(9.5 * euro, 2)})


@get("/health")
async def report() -> Response[dict[str, Any]]:
    found = await health.report()
    return Response(found.public(), status_code=200 if found.ok else 503)


# Without logging_config=None Litestar replaces the root logger's handlers, those of logs.setup included.
app = Litestar([price, report], lifespan=[lifespan], logging_config=None)
