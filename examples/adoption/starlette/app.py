"""Starlette with prodkit: every middleware with one call, limits and health as routes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import prodkit as pk
from prodkit import cache, ratelimit, web
from prodkit.redis import RedisLink

redis = RedisLink(os.environ.get("REDIS_URL"))
answers = cache.Cache(redis, namespace="shop")
limiter = ratelimit.RateLimiter(redis)
drain = web.Drain(delay=3)
PRICES = ratelimit.Limit("1000/minute", name="price")


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with pk.running(redis, answers):
        with drain.on_signals():
            yield


async def rate() -> float:
    return 5.4


async def price(request: Request) -> JSONResponse:
    await web.enforce(limiter, (PRICES, web.client_key(request.scope)))  # 429 problem+json with Retry-After
    euro = await answers.get_or_set("rate:EUR", rate, ttl=60)
    return JSONResponse({"product": request.path_params["product"], "price": round(9.5 * euro, 2)})


routes = [
    Route("/price/{product:int}", price),
    *web.health_routes(pk.Health(redis), drain=drain),
]
app = Starlette(routes=routes, lifespan=lifespan)
web.install(app, drain=drain, deadline=5.0)
