"""The asynchronous parts for synchronous code: Django, Flask, Celery, scripts.

One event loop in one background thread serves every thread of the process::

    db, redis = postgres.Pool(url), RedisLink(redis_url)
    answers = sync.Cache(cache.Cache(redis, namespace="shop"))

    with sync.running(db, redis, answers):
        prices = answers.get_or_set("prices", load_prices, ttl=60)   # load_prices is an ordinary function

Call path of ``answers.get_or_set``::

    Cache.get_or_set ── CallerThread.wait ── Portal.submit ──▶ loop thread: cache.Cache.get_or_set
                            ▲                                        │ miss
                            └── runs load_prices in this thread ◀────┘

The caller's :class:`~prodkit.Deadline` is in force on the loop, and an interrupt of the caller cancels its call. After
a fork the child starts a loop of its own; parts that the parent started are refused there with
:class:`NotRunningError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.sync.cache import Cache as Cache
    from prodkit.sync.client import Client as Client
    from prodkit.sync.pool import Pool as Pool
    from prodkit.sync.ratelimit import RateLimiter as RateLimiter
    from prodkit.sync.service import NotRunningError as NotRunningError, call as call, running as running
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "cache": ("Cache",),
            "client": ("Client",),
            "pool": ("Pool",),
            "ratelimit": ("RateLimiter",),
            "service": ("NotRunningError", "call", "running"),
        },
    )
