from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from prodkit import Runtime, telemetry, web
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.testing import virtual_time
from prodkit.web.request_events import RequestFinished


async def order(_: Request) -> Response:
    return PlainTextResponse("ok")


async def fail(_: Request) -> Response:
    raise RuntimeError("no")


async def stream(_: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(5)
        yield b"b"

    return StreamingResponse(parts(), background=BackgroundTask(asyncio.sleep, 100))


ROUTES = [
    Mount("/v1", routes=[Route("/orders/{id}", order, methods=["GET", "POST"])]),
    Route("/fail", fail),
    Route("/stream", stream),
]


def make(**options: Any) -> tuple[Starlette, Runtime, list[RequestFinished]]:
    runtime, found = Runtime(), list[RequestFinished]()
    app = Starlette(routes=ROUTES)
    web.install(app, runtime=runtime, **options)
    runtime.events.subscribe(found.append, RequestFinished)
    return app, runtime, found


async def get(app: Any, path: str, *, method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://kit") as client:
        return await client.request(method, path)


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/v1/orders/7?token=x", "/v1/orders/{id}", 200),
        ("DELETE", "/v1/orders/7", "/v1/orders/{id}", 405),
        ("GET", "/nowhere/7", "", 404),
        ("GET", "/fail", "/fail", 500),
        ("BREW", "/fail", "/fail", 405),
    ],
)
async def test_each_answer_is_one_event(method: str, path: str, route: str, status: int) -> None:
    app, _, found = make()
    assert (await get(app, path, method=method)).status_code == status
    (event,) = found
    assert (event.method, event.route, event.status) == (
        "_OTHER" if method == "BREW" else method,
        route,
        status,
    )
    assert event.seconds >= 0


async def test_refusals_of_the_other_layers_count_too() -> None:
    app, _, found = make(limiter=RateLimiter(), limits=[Limit("1/hour", name="all")])
    for _ in range(2):
        await get(app, "/v1/orders/7")
    assert [each.status for each in found] == [200, 429]


@virtual_time
async def test_a_stream_lasts_until_its_last_byte_and_not_longer() -> None:
    app, _, found = make()
    await get(app, "/stream")
    assert found[0].seconds == pytest.approx(5)


async def test_a_client_that_leaves_before_the_answer_is_a_499() -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    runtime, found = Runtime(), list[RequestFinished]()
    runtime.events.subscribe(found.append, RequestFinished)
    layer = web.RequestEventsMiddleware(waits, runtime=runtime)
    await layer({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
    assert found[0].status == 499


async def test_without_a_subscriber_nothing_stands_between() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(send)

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await web.RequestEventsMiddleware(app, runtime=Runtime())(scope, receive, send)
    assert seen == [send]


async def test_prometheus_has_the_durations_by_route_with_bounded_labels() -> None:
    app, runtime, _ = make()
    exporter = telemetry.prometheus.install(runtime=runtime, registry=CollectorRegistry())
    for number in range(600):
        await get(app, f"/v1/orders/{number}")
        await get(app, f"/{number}")
    text = exporter.text().decode()
    exporter.close()
    name = "prodkit_http_request_seconds_count"
    assert f'{name}{{method="GET",route="/v1/orders/{{id}}",status="200"}} 600.0' in text
    assert f'{name}{{method="GET",route="",status="404"}} 600.0' in text
    assert text.count(f"{name}{{") == 2
