from __future__ import annotations

from typing import Any

import pytest
from starlette.routing import Route

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
