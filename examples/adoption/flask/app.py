"""Flask with prodkit: limits, a shared cache and a guarded call from ordinary views."""

from __future__ import annotations

import os

from flask import Flask, Response, jsonify, request

import prodkit as pk
from prodkit import cache, ratelimit, sync
from prodkit.redis import RedisLink

redis = RedisLink(os.environ.get("REDIS_URL"))
answers = sync.Cache(cache.Cache(redis, namespace="shop"))
limiter = sync.RateLimiter(ratelimit.RateLimiter(redis))
service = sync.running(redis, answers)  # service.start() in each worker process, after the fork
exchange = pk.Pipeline(pk.Retry(attempts=3), pk.CircuitBreaker("exchange"))
PRICES = ratelimit.Limit("1000/minute", name="price")

app = Flask(__name__)


@app.before_request
def limit() -> Response | None:
    decision = limiter.check((PRICES, ratelimit.client_ip(request.remote_addr or "")))
    if decision.allowed:
        return None
    answer = jsonify(title="Too many requests", status=429)
    answer.status_code, answer.mimetype = 429, "application/problem+json"
    answer.headers["Retry-After"] = f"{decision.retry_after:.0f}"
    return answer


def rate(_: str) -> float:
    return 5.4


@app.get("/price/<int:product>")
def price(product: int) -> Response:
    with pk.Deadline.after(5):
        euro = answers.get_or_set("rate:EUR", lambda: exchange.call(rate, "EUR"), ttl=60)
    return jsonify(product=product, price=round(9.5 * euro, 2))
