"""The parts of the kit from synchronous code: a cache and a limiter shared by the threads of a web server."""

import threading

from prodkit import cache, ratelimit, sync
from prodkit.redis import RedisLink

redis = RedisLink(None)  # a URL to share state between processes
answers = sync.Cache(cache.Cache(redis, namespace="shop"))
limiter = sync.RateLimiter(ratelimit.RateLimiter(redis))
UPLOAD = ratelimit.Limit("3/hour", name="upload")
loads: list[str] = []


@answers.cached(ttl=60)
def price(product: int) -> float:
    loads.append(threading.current_thread().name)
    return 9.5 * product


def handle_request() -> None:
    decision = limiter.check((UPLOAD, "user 7"))
    print("allowed" if decision.allowed else f"retry in {decision.retry_after:.0f} s", price(2))


with sync.running(redis, answers, limiter):
    threads = [threading.Thread(target=handle_request) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

assert len(loads) == 1  # five threads asked, one loaded
