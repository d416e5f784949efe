"""Celery with prodkit: tasks that share a breaker, a retry budget, a cache and a limit on an API."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown

import prodkit as pk
from prodkit import cache, ratelimit, sync
from prodkit.redis import RedisLink

app = Celery("shop", broker=os.environ.get("BROKER_URL", "memory://"), backend="cache+memory://")

redis = RedisLink(os.environ.get("REDIS_URL"))
answers = sync.Cache(cache.Cache(redis, namespace="shop"))
limiter = sync.RateLimiter(ratelimit.RateLimiter(redis))
service = sync.running(redis, answers)
API = ratelimit.Limit("600/minute", name="exchange-api")
exchange = pk.Pipeline(pk.Retry(attempts=3), pk.CircuitBreaker("exchange"))


@worker_process_init.connect
def start(**_: Any) -> None:
    service.start()  # after the fork: each worker process has a loop and connections of its own


@worker_process_shutdown.connect
def stop(**_: Any) -> None:
    service.close()


def rate(currency: str) -> float:
    return {"EUR": 5.4, "USD": 5.0}[currency]


@app.task(bind=True, max_retries=5)
def convert(self: Any, amount: float, currency: str) -> float:
    decision = limiter.check((API, "all workers"))  # one limit for the whole fleet, on Redis
    if not decision.allowed:
        raise self.retry(countdown=decision.retry_after)
    try:
        found = answers.get_or_set(f"rate:{currency}", lambda: exchange.call(rate, currency), ttl=60)
    except pk.CircuitOpenError as refused:
        raise self.retry(countdown=refused.retry_after or 30) from None
    return round(amount * found, 2)
