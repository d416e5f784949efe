"""Django with prodkit: one process-wide service, a cache backend, a limit as a decorator, one guarded call.

Everything below ``# --- your project`` would live in your own modules; the rest is what you add once.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

import prodkit as pk
from prodkit import cache, ratelimit, sync
from prodkit.redis import RedisLink

# --- service.py: the parts, started once in each worker process -------------------------------------------------------

redis = RedisLink(os.environ.get("REDIS_URL"))
answers = sync.Cache(cache.Cache(redis, namespace="shop"))
limiter = sync.RateLimiter(ratelimit.RateLimiter(redis))
service = sync.running(redis, answers)
exchange = pk.Pipeline(
    pk.Retry(attempts=3), pk.CircuitBreaker("exchange")
)  # a policy serves sync and async code alike


# --- backend.py: CACHES = {"default": {"BACKEND": "shop.backend.ProdkitCache"}} ---------------------------------------


class ProdkitCache(BaseCache):
    """Django's cache API on the shared cache: values that JSON can hold."""

    def __init__(self, _: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return answers.get(self.make_key(key, version), default)

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        answers.set(self.make_key(key, version), value, ttl=10**8 if seconds is None else seconds)

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        if self.get(key, version=version) is not None:
            return False
        self.set(key, value, timeout, version)
        return True

    def delete(self, key: str, version: int | None = None) -> bool:
        return answers.delete(self.make_key(key, version))

    def clear(self) -> None:
        answers.clear()


# --- limits.py --------------------------------------------------------------------------------------------------------


def limited(limit: ratelimit.Limit) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Refuse a client with 429 and ``Retry-After`` once `limit` is used up."""

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @functools.wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            decision = limiter.check((limit, ratelimit.client_ip(request.META["REMOTE_ADDR"])))
            if not decision.allowed:
                body = {"title": "Too many requests", "status": 429}
                return JsonResponse(
                    body,
                    status=429,
                    content_type="application/problem+json",
                    headers={"Retry-After": str(-(-decision.retry_after // 1)).split(".")[0]},
                )
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def deadline(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: everything that a request calls fits in ten seconds."""

    def middleware(request: HttpRequest) -> HttpResponse:
        with pk.Deadline.after(10):
            return get_response(request)

    return middleware


# --- your project -----------------------------------------------------------------------------------------------------


def rate(_: str) -> float:
    return 5.4


@limited(ratelimit.Limit("1000/minute", name="price"))
def price(request: HttpRequest, product: int) -> HttpResponse:
    euro = answers.get_or_set("rate:EUR", lambda: exchange.call(rate, "EUR"), ttl=60)
    return JsonResponse({"product": product, "price": round(9.5 * euro, 2)})


def health(_: HttpRequest) -> HttpResponse:
    report = sync.call(pk.Health(redis).report)
    return JsonResponse(report.public(), status=200 if report.ok else 503)


urlpatterns = [path("price/<int:product>", price), path("health", health)]

if not settings.configured:
    settings.configure(
        ROOT_URLCONF=__name__,
        SECRET_KEY="django-insecure-example",  # noqa: S106 - your settings read it from the environment
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=[f"{__name__}.deadline"],
        CACHES={"default": {"BACKEND": f"{__name__}.ProdkitCache"}},
    )
    django.setup()

if __name__ == "__main__":
    from django.core.wsgi import get_wsgi_application

    service.start()  # in gunicorn: in the hook post_fork
    print(type(get_wsgi_application()).__name__, "is ready", file=sys.stderr)
    service.close()
