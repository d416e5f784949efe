"""Litestar: no ``from __future__ import annotations`` here, because it reads the annotations of its handlers."""

from typing import Any

import litestar
from litestar.testing import TestClient as LitestarClient

from prodkit import DatabaseError, web
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.redis import RedisLink
from prodkit.sessions import MemoryStore, Sessions

SECRET = "made-up-secret-of-more-than-32-characters"


def test_litestar_is_served_alike() -> None:
    limiter = RateLimiter(RedisLink(None))

    @litestar.get("/form", media_type="text/plain")
    async def form(request: litestar.Request[Any, Any, Any]) -> str:
        return web.csrf_token(request)  # type: ignore[arg-type]

    @litestar.post("/login")
    async def login(request: litestar.Request[Any, Any, Any]) -> dict[str, str]:
        web.session_of(request).login("7")  # type: ignore[arg-type]
        return {"user": "7"}

    @litestar.get("/me")
    async def me(request: litestar.Request[Any, Any, Any]) -> dict[str, Any]:
        return {"user": web.session_of(request).user_id}  # type: ignore[arg-type]

    @litestar.get("/limited")
    async def limited() -> str:
        await web.enforce(limiter, (Limit("1/h", name="one"), "x"))
        return "ok"

    @litestar.get("/away")
    async def away() -> str:
        raise DatabaseError("secret.internal")

    app = litestar.Litestar([form, login, me, limited, away], logging_config=None)
    web.install(app, sessions=Sessions(MemoryStore(), secret=SECRET), drain=web.Drain())
    with LitestarClient(app, base_url="https://kit.example") as client:
        token = client.get("/form").text
        assert client.post("/login").status_code == 403
        assert client.post("/login", headers={"x-csrf-token": token}).status_code == 201
        assert client.get("/me").json() == {"user": "7"}
        assert client.get("/limited").text == "ok"
        refused = client.get("/limited")
        assert refused.status_code == 429
        assert refused.json()["detail"].endswith("Try again in 1 hour.")
        assert int(refused.headers["retry-after"]) > 3000
        failed = client.get("/away")
        assert (failed.status_code, failed.headers["content-type"]) == (503, "application/problem+json")
        assert "secret.internal" not in failed.text
        assert "content-security-policy" in failed.headers
        assert client.get("/nowhere").headers["content-type"] == "application/problem+json"
