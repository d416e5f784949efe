from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
from opentelemetry.trace import SpanKind, get_current_span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from prodkit import telemetry, web
from prodkit.core import correlation

from .conftest import CANARY, Sink, Worked

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


async def served(
    sink: Sink, routes: Sequence[BaseRoute], target: str, *, method: str = "GET", **options: Any
) -> httpx.Response:
    """The answer of an app with `install` and `ServerSpans`, outside of it."""
    headers = options.pop("headers", {})
    app = Starlette(routes=routes)
    web.install(app, runtime=sink.runtime)
    providers = {"tracer_provider": sink.tracers, "meter_provider": sink.meters}
    app.add_middleware(telemetry.opentelemetry.ServerSpans, **providers, **options)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://kit:8080") as client:
        return await client.request(method, target, headers=headers)


async def test_a_request_is_a_span_with_the_attributes_of_the_conventions() -> None:
    sink = Sink()
    sent: list[str] = []

    async def order(request: Request) -> Response:
        sink.runtime.events.emit(Worked(what="slow"))
        sent.append(correlation.next_traceparent())
        return PlainTextResponse("ok")

    answer = await served(
        sink, [Route("/orders/{id}", order)], "/orders/7?token=x", headers={"user-agent": "t"}
    )
    assert answer.status_code == 200
    (span,) = sink.spans.get_finished_spans()
    assert (span.name, span.kind, span.parent) == ("GET /orders/{id}", SpanKind.SERVER, None)
    assert span.status.is_unset
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/orders/{id}",
        "network.protocol.version": "1.1",
        "server.address": "kit",
        "server.port": 8080,
        "url.path": "/orders/7",
        "url.scheme": "http",
        "user_agent.original": "t",
    }
    assert [event.name for event in span.events] == ["test.worked"]
    assert span.context is not None
    assert sent[0].startswith(f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-")
    assert not get_current_span().get_span_context().is_valid
    sink.exporter.close()


@pytest.mark.parametrize("trust", [True, False])
async def test_the_callers_trace_goes_on_only_where_it_is_trusted(trust: bool) -> None:
    sink = Sink()
    await served(sink, [], "/", headers=TRACEPARENT, trust=trust)
    (span,) = sink.spans.get_finished_spans()
    assert span.context is not None
    brought = span.parent if trust else span.links[0].context
    assert brought is not None
    assert (f"{brought.trace_id:032x}", f"{brought.span_id:016x}") == (TRACE, PARENT)
    assert (span.context.trace_id == int(TRACE, 16)) is trust
    assert (span.parent is None) is not trust
    for damaged in ("", "00-0-0-01", f"00-{TRACE}-{'0' * 16}-01", "\xff"):
        await served(sink, [], "/", headers={"traceparent": damaged.encode("latin-1")}, trust=trust)
        last = sink.spans.get_finished_spans()[-1]
        assert (last.parent, len(last.links)) == (None, 0)
    sink.exporter.close()


async def test_failures_are_errors_without_their_message() -> None:
    sink = Sink()

    async def fail(request: Request) -> Response:
        raise RuntimeError(f"password={CANARY}")

    async def missing(request: Request) -> Response:
        return Response(status_code=404)

    routes = [Route("/fail", fail), Route("/missing", missing)]
    await served(sink, routes, f"/fail?token={CANARY}", headers={"user-agent": CANARY, "cookie": CANARY})
    await served(sink, routes, "/missing")
    failed, absent = sink.spans.get_finished_spans()
    assert (failed.status.is_ok, (failed.attributes or {})["error.type"]) == (False, "RuntimeError")
    assert (failed.attributes or {})["http.response.status_code"] == 500
    assert CANARY not in str(failed.to_json())
    assert absent.status.is_unset
    bare = telemetry.opentelemetry.ServerSpans(
        Starlette(routes=[Route("/", fail)]), tracer_provider=sink.tracers
    )
    transport = httpx.ASGITransport(bare)
    async with httpx.AsyncClient(transport=transport, base_url="http://kit") as client:
        with pytest.raises(RuntimeError):
            await client.get("/")
    raised = sink.spans.get_finished_spans()[-1]
    assert (raised.attributes or {})["error.type"] == "RuntimeError"
    sink.exporter.close()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/orders/7", "GET /v1/orders/{id}"),
        ("/users/9/orders/7", "GET"),
        ("/files/deep/a.txt", "GET /files"),
        ("/nowhere/9", "GET"),
    ],
)
async def test_names_have_few_values(path: str, name: str) -> None:
    async def order(request: Request) -> Response:
        return PlainTextResponse("ok")

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("file")(scope, receive, send)

    inner = [Route("/orders/{id}", order)]
    routes = [Mount("/v1", routes=inner), Mount("/users/{user}", routes=inner), Mount("/files", plain)]
    sink = Sink()
    await served(sink, routes, path)
    await served(sink, routes, "/", method="BREW")
    assert [each.name for each in sink.spans.get_finished_spans()] == [name, "HTTP"]
    sink.exporter.close()


async def test_a_server_span_of_the_framework_stays_the_only_one() -> None:
    sink = Sink()
    with sink.tracers.get_tracer("theirs").start_as_current_span("theirs", kind=SpanKind.SERVER):
        await served(sink, [], "/")
    assert [each.name for each in sink.spans.get_finished_spans()] == ["theirs"]
    sink.exporter.close()


async def test_fastapi_routers_keep_their_prefix() -> None:
    fastapi = pytest.importorskip("fastapi")
    router = fastapi.APIRouter(prefix="/orders")

    @router.get("/{number}")
    async def order(number: int) -> int:
        return number

    app = fastapi.FastAPI()
    app.include_router(router, prefix="/v1")
    sink = Sink()
    app.add_middleware(telemetry.opentelemetry.ServerSpans, tracer_provider=sink.tracers)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kit") as client:
        assert (await client.get("/v1/orders/7")).json() == 7
    assert sink.spans.get_finished_spans()[0].name == "GET /v1/orders/{number}"
    sink.exporter.close()


async def test_litestar_names_its_routes_too() -> None:
    litestar = pytest.importorskip("litestar")

    @litestar.get("/orders/{number:int}")  # type: ignore[untyped-decorator, unused-ignore]
    async def order() -> str:
        return "ok"

    sink = Sink()
    app = telemetry.opentelemetry.ServerSpans(
        litestar.Litestar([order], logging_config=None), tracer_provider=sink.tracers
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kit") as client:
        assert (await client.get("/orders/7")).text == "ok"
        assert (await client.get("/nothing/8")).status_code == 404
    assert [each.name for each in sink.spans.get_finished_spans()] == ["GET /orders/{number}", "GET"]
    sink.exporter.close()


async def test_a_stream_is_one_span_and_skipped_paths_have_none() -> None:
    sink = Sink()
    open_spans: list[int] = []

    async def stream(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            open_spans.append(len(sink.spans.get_finished_spans()))
            yield b"b"

        return StreamingResponse(parts())

    routes = [Route("/stream", stream), Route("/api/health/{name}", stream)]
    assert (await served(sink, routes, "/stream")).text == "ab"
    assert open_spans == [0]
    await served(sink, routes, "/api/health/ready", skip=["/api/health"])
    assert [each.name for each in sink.spans.get_finished_spans()] == ["GET /stream"]
    with pytest.raises(ValueError, match="skip must hold paths"):
        telemetry.opentelemetry.ServerSpans(Starlette(), skip="health")
    sink.exporter.close()


async def test_durations_of_requests_follow_the_conventions() -> None:
    sink = Sink()

    async def order(request: Request) -> Response:
        if request.query_params:
            raise RuntimeError("no")
        return PlainTextResponse("ok")

    routes = [Route("/orders/{id}", order)]
    for number in range(3):
        await served(sink, routes, f"/orders/{number}")
    await served(sink, routes, "/orders/7?fail=1")
    await served(sink, routes, "/nowhere", method="BREW")
    points = {
        (each.attributes["http.request.method"], each.attributes["http.response.status_code"]): each
        for each in sink.points()["http.server.request.duration"]
    }
    common = {"url.scheme": "http", "network.protocol.version": "1.1", "http.request.method": "GET"}
    good = points["GET", 200]
    assert good.count == 3
    assert good.explicit_bounds[:3] == (0.005, 0.01, 0.025)
    assert dict(good.attributes) == {
        **common,
        "http.route": "/orders/{id}",
        "http.response.status_code": 200,
    }
    assert points["GET", 500].attributes["error.type"] == "RuntimeError"
    assert dict(points["_OTHER", 404].attributes) == {
        **common,
        "http.request.method": "_OTHER",
        "http.response.status_code": 404,
    }
    sink.exporter.close()


@pytest.mark.parametrize(
    ("messages", "status", "code", "error"),
    [
        (["accept", "close"], 101, 1000, ""),
        (["accept", "leave"], 101, 1001, ""),
        (["accept", "fail"], 101, None, "RuntimeError"),
        (["accept", "broken"], 101, 1011, "1011"),
        (["close"], 403, None, ""),
    ],
)
async def test_a_websocket_is_one_span_until_it_is_closed(
    messages: list[str], status: int, code: int | None, error: str
) -> None:
    sink = Sink()

    async def live(socket: WebSocket) -> None:
        for message in messages:
            if message == "accept":
                await socket.accept()
            elif message == "leave":
                await socket.receive()
            elif message == "fail":
                raise RuntimeError(CANARY)
            else:
                await socket.close(1011 if message == "broken" else 1000)

    async def receive() -> Any:
        return {"type": "websocket.disconnect", "code": 1001}

    async def send(message: Any) -> None: ...

    app = telemetry.opentelemetry.ServerSpans(
        Starlette(routes=[WebSocketRoute("/live/{room}", live)]),
        tracer_provider=sink.tracers,
        meter_provider=sink.meters,
    )
    waiting = [{"type": "websocket.connect"}]

    async def first() -> Any:
        return waiting.pop() if waiting else await receive()

    scope = {
        "type": "websocket", "path": "/live/7", "scheme": "wss", "http_version": "1.1",
        "query_string": f"k={CANARY}".encode(), "headers": [(b"host", b"kit")], "root_path": "", "subprotocols": [],
    }  # fmt: skip
    with contextlib.suppress(RuntimeError):
        await app(scope, first, send)
    (span,) = [each for each in sink.spans.get_finished_spans() if each.kind is SpanKind.SERVER]
    attributes = dict(span.attributes or {})
    assert span.name == "GET /live/{room}"
    assert (attributes["http.response.status_code"], attributes.get("prodkit.websocket.close_code")) == (
        status,
        code,
    )
    assert (attributes["url.scheme"], attributes["network.protocol.name"]) == ("wss", "websocket")
    assert attributes.get("error.type", "") == error
    assert span.status.is_unset is not bool(error)
    assert CANARY not in str(span.to_json())
    assert sink.reader.get_metrics_data() is None  # the life of a socket is no duration of a request
    sink.exporter.close()
