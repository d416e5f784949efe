from __future__ import annotations

import asyncio
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from prodkit import Health, web
from prodkit.sessions import MemoryStore, Sessions

SECRET = "made-up-secret-of-more-than-32-characters"


async def test_under_overload_signed_in_visitors_are_served_and_others_refused_before_the_store() -> None:
    loads = 0
    finish = asyncio.Event()

    class Store(MemoryStore):
        async def load(self, key: bytes) -> Any:
            nonlocal loads
            loads += 1
            return await super().load(key)

    async def work(_: Request) -> Response:
        await finish.wait()
        return PlainTextResponse("ok")

    async def settle() -> None:
        """Let every request come to where it waits."""
        for _ in range(500):
            await asyncio.sleep(0)

    accounts = Sessions(Store(), secret=SECRET)
    session = await accounts.open([])
    session.login("7")
    signed = str(await accounts.save(session)).split(";")[0]
    forged = "__Host-session=" + "a" * 43 + "." + "b" * 22
    admission = web.Admission(initial=2, min_limit=2, max_limit=2, max_queue=4)
    app = Starlette(routes=[Route("/", work), *web.health_routes(Health(admission))])
    web.install(app, sessions=accounts, admission=admission)
    loads = 0
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://kit") as client:

        async def get(cookie: str = "", path: str = "/") -> httpx.Response:
            return await client.get(path, headers={"cookie": cookie} if cookie else {})

        anonymous = [asyncio.create_task(get(forged)) for _ in range(20)]
        await settle()
        users = [asyncio.create_task(get(signed)) for _ in range(4)]
        await settle()
        health = await get(path="/api/health")
        assert health.status_code == 200
        assert health.json()["checks"]["admission"]["status"] == "degraded"
        finish.set()
        refused = [await each for each in anonymous]
        assert [(await each).status_code for each in users] == [200] * 4
    statuses = [each.status_code for each in refused]
    assert statuses.count(200) == 2  # those that ran already; the queued ones made way
    assert statuses.count(503) == 18
    one = next(each for each in refused if each.status_code == 503)
    assert one.headers["retry-after"] == "2"
    assert one.json()["code"] == "busy"
    assert loads == 4
