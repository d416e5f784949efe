from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from prodkit.telemetry.routes import method_of, route_of


@pytest.mark.parametrize(
    ("scope", "method"),
    [
        ({"type": "http", "method": "PATCH"}, "PATCH"),
        ({"type": "http", "method": "BREW"}, "_OTHER"),
        ({"type": "http", "method": "get"}, "_OTHER"),
        ({"type": "http"}, "_OTHER"),
        ({"type": "websocket"}, "GET"),
    ],
)
def test_a_method_is_one_of_few(scope: dict[str, Any], method: str) -> None:
    assert method_of(scope) == method


ORDER = Route("/orders/{id}", lambda _: None)


@pytest.mark.parametrize(
    ("scope", "root", "route"),
    [
        ({"path": "/orders/7", "route": ORDER, "path_params": {"id": 7}}, "", "/orders/{id}"),
        ({"path": "/app/orders/7", "route": ORDER, "path_params": {"id": 7}}, "/app", "/orders/{id}"),
        ({"path": "/v1/orders/7", "route": ORDER, "path_params": {"id": 7}}, "", "/v1/orders/{id}"),
        ({"path": "/ann/orders/7", "route": ORDER, "path_params": {"user": "Ann", "id": 7}}, "", ""),
        ({"path": "/elsewhere", "route": ORDER}, "", ""),
        ({"path": "/x/1", "path_template": "/x/{number}"}, "", "/x/{number}"),
        ({"path": "/x/1"}, "", ""),
        ({}, "", ""),
    ],
)
def test_a_route_is_its_template_or_nothing(scope: dict[str, Any], root: str, route: str) -> None:
    assert route_of(scope, root) == route


@pytest.mark.parametrize(
    ("mount", "inner", "path"),
    [
        ("/shops/{number:int}", "/x", "/shops/007/x"),
        ("/shops/{id:uuid}", "/x", "/shops/0123456789abcdef0123456789ABCDEF/x"),
        ("/shops/{folder:path}", "/x", "/shops/a/b/x"),
        ("/shops/{share:float}", "/x", "/shops/1.50/x"),
        ("/links/{id}", "/orders/{id}", "/links/ana/orders/5"),
        ("/api/links/{id}", "/orders/{id}", "/api/links/ana/orders/5"),
    ],
)
async def test_no_value_of_a_mount_becomes_a_route(mount: str, inner: str, path: str) -> None:
    async def answer(_: Request) -> Response:
        return Response()

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    statuses = list[Any]()
    head, _, rest = mount.removeprefix("/").partition("/")
    routes = [Mount(mount, routes=[Route(inner, answer)])]
    if head == "api":
        routes = [Mount("/api", routes=[Mount("/" + rest, routes=[Route(inner, answer)])])]
    routes.append(Mount("/plain", routes=[Route(inner, answer)]))
    app = Starlette(routes=routes)
    for asked, route in ((path, ""), ("/plain" + inner.replace("{id}", "5"), "/plain" + inner)):
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": asked, "headers": []}
        await app(scope, receive, send)
        assert statuses[-2] == 200
        assert route_of(scope, "") == route
