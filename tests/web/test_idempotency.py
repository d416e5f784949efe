from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from prodkit import web
from prodkit.sessions import MemoryIdempotency


def make(idempotency: web.Idempotency) -> tuple[Starlette, list[int]]:
    calls: list[int] = []

    async def pay(request: Request) -> Response:
        calls.append(1)
        await asyncio.sleep(float(request.query_params.get("wait", 0)))
        if request.query_params.get("raise"):
            raise RuntimeError("bug")
        status = int(request.query_params.get("status", 201))
        return JSONResponse({"n": len(calls)}, status, headers={"location": "/p/1", "set-cookie": "a=b"})

    app = Starlette(routes=[Route("/pay", pay, methods=["POST", "GET"])])
    web.install(app, idempotency=idempotency)
    return app, calls


def client_of(app: Starlette, peer: str = "203.0.113.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://kit")


async def post(
    client: httpx.AsyncClient, query: str = "", body: Any = None, key: str = "k1"
) -> httpx.Response:
    return await client.post(f"/pay{query}", json=body, headers={"idempotency-key": key})


async def test_a_repeated_request_has_the_first_answer() -> None:
    app, calls = make(web.Idempotency(MemoryIdempotency()))
    async with client_of(app) as client, client_of(app, "203.0.113.2") as other:
        first, second = await post(client, body=1), await post(client, body=1)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json() == {"n": 1}
        assert second.headers["location"] == "/p/1"
        assert second.headers["idempotent-replayed"] == "true"
        assert "set-cookie" not in second.headers
        assert "content-security-policy" in second.headers
        assert (await post(client, body=2)).status_code == 422  # another request under the same key
        assert (await post(client, body=1, key="k2")).json() == {"n": 2}
        assert (await post(other, body=1)).json() == {"n": 3}  # another visitor's key
        assert (await client.post("/pay")).json() == {"n": 4}
        assert (await post(client, key="\x7f")).status_code == 400
    assert len(calls) == 4


async def test_a_running_request_is_a_conflict_and_runs_once() -> None:
    app, calls = make(web.Idempotency(MemoryIdempotency()))
    async with client_of(app) as client:
        answers = await asyncio.gather(*(post(client, "?wait=0.05") for _ in range(20)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [201] + [409] * 19
        conflict = next(answer for answer in answers if answer.status_code == 409)
        assert conflict.headers["retry-after"] == "1"
    assert calls == [1]


@pytest.mark.parametrize("query", ["?status=503", "?raise=1"])
async def test_a_failure_frees_the_key(query: str) -> None:
    app, calls = make(web.Idempotency(MemoryIdempotency()))
    async with client_of(app) as client:
        assert (await post(client, query)).status_code >= 500
        assert (await post(client, query)).status_code >= 500
    assert calls == [1, 1]


async def test_a_key_is_the_same_with_the_quotes_of_the_draft_and_without() -> None:
    app, calls = make(web.Idempotency(MemoryIdempotency()))
    async with client_of(app) as client:
        answers = [await post(client, key=key) for key in ("abc", '"abc"')]
    assert [each.status_code for each in answers] == [201, 201]
    assert calls == [1]


async def test_a_4xx_is_an_answer() -> None:
    app, calls = make(web.Idempotency(MemoryIdempotency()))
    async with client_of(app) as client:
        assert [(await post(client, "?status=402")).status_code for _ in range(2)] == [402, 402]
    assert calls == [1]


async def test_a_crashed_request_frees_the_key_after_its_lease() -> None:
    store = MemoryIdempotency()
    app, calls = make(web.Idempotency(store, lease=0.1))
    async with client_of(app) as client:
        running = asyncio.create_task(post(client, "?wait=30"))
        await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert (await post(client, "?wait=0")).status_code in (201, 422)
    assert len(calls) >= 1
    token, key, request = b"t" * 16, b"k" * 32, b"r" * 32
    assert (await store.claim(key, request, token, lease=0.05, ttl=60)).state == "mine"
    assert (await store.claim(key, request, b"u" * 16, lease=0.05, ttl=60)).state == "running"
    await asyncio.sleep(0.06)
    assert (await store.claim(key, request, b"u" * 16, lease=0.05, ttl=60)).state == "mine"
    await store.free(key, token)  # the first attempt lost its claim
    assert (await store.claim(key, request, b"v" * 16, lease=0.05, ttl=60)).state == "running"
