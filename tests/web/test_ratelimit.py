from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from prodkit import web
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.redis import RedisLink


async def home(_: Request) -> Response:
    return Response("ok")


def make(limiter: Any, **options: Any) -> Starlette:
    app = Starlette(
        routes=[Route("/", home), Route("/api/health", home), Route("/login", home, methods=["POST"])]
    )
    web.install(app, limiter=limiter, **options)
    return app


def test_the_limit_holds_per_client_and_says_when_to_come_back() -> None:
    app = make(RateLimiter(RedisLink(None)), limits=[Limit("3/10 min", name="all")])
    one, two = TestClient(app, client=("203.0.113.1", 1)), TestClient(app, client=("203.0.113.2", 1))
    assert [one.get("/").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = one.get("/")
    assert 1 <= int(refused.headers["retry-after"]) <= 600
    assert refused.json()["detail"].endswith("Tente novamente em 10 minutos.")
    assert "content-security-policy" in refused.headers
    assert two.get("/").status_code == 200
    assert one.get("/api/health").status_code == 200


def test_it_can_guard_one_path() -> None:
    app = Starlette(routes=[Route("/", home), Route("/login", home, methods=["POST"])])
    app.add_middleware(
        web.RateLimitMiddleware,
        limiter=RateLimiter(RedisLink(None)),
        limits=[Limit("1/h", name="l")],
        only="/login",
    )
    client = TestClient(app)
    assert [client.post("/login").status_code for _ in range(2)] == [200, 429]
    assert client.get("/").status_code == 200


def test_a_limiter_that_cannot_decide_is_a_503() -> None:
    class Verdict:
        allowed, unavailable, retry_after = False, True, 2.0

    class Away:
        async def check(self, *pairs: Any) -> Verdict:
            return Verdict()

    response = TestClient(make(Away(), limits=["x"])).get("/")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("host", "key"),
    [("203.0.113.9", "203.0.113.9"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("::ffff:203.0.113.9", "203.0.113.9"),
     ("testclient", "testclient")],
)  # fmt: skip
def test_the_key_is_what_one_customer_has(host: str, key: str) -> None:
    assert web.client_key({"client": (host, 1)}) == key
    assert web.client_key({"client": None}) == "unknown"


def test_no_limits_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one limit"):
        web.RateLimitMiddleware(home, limiter=RateLimiter(RedisLink(None)), limits=[])  # type: ignore[arg-type]
