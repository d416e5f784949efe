"""RQ with prodkit: a job that shares a cache and a limit with the whole fleet, whichever worker class runs it.

rq worker prices          # forks a work horse for each job
"""

from __future__ import annotations

import os

from redis import Redis
from rq import Queue, get_current_job

import prodkit as pk
from prodkit import cache, ratelimit, sync
from prodkit.redis import RedisLink

API = ratelimit.Limit("600/minute", name="exchange-api")
breaker = pk.CircuitBreaker("exchange")
exchange = pk.Pipeline(pk.Retry(attempts=3), breaker)


def rate(currency: str) -> float:
    return {"EUR": 5.4, "USD": 5.0}[currency]


def convert(amount: float, currency: str) -> float:
    # Inside the job: a forked work horse has neither the loop nor the connections of its parent.
    redis = RedisLink(os.environ.get("REDIS_URL"))
    answers = sync.Cache(cache.Cache(redis, namespace="shop"))
    limiter = sync.RateLimiter(ratelimit.RateLimiter(redis))
    with sync.running(redis, answers):
        if not limiter.check((API, "all workers")).allowed:
            raise ConnectionError(
                "the limit of the exchange API is used up"
            )  # RQ's Retry(interval=…) comes back
        found = answers.get_or_set(f"rate:{currency}", lambda: exchange.call(rate, currency), ttl=60)
    job = get_current_job()
    if job is not None:
        job.meta["rate"] = found
        job.save_meta()
    return round(amount * found, 2)


def queue() -> Queue:
    return Queue("prices", connection=Redis.from_url(os.environ["REDIS_URL"]))
