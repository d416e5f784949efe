"""Bodies over the limit: declared, counted, and the rest that is read and dropped."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.exceptions import HTTPException

from prodkit.web import BodyLimitMiddleware


class Request:
    """A body in pieces, read by an app that takes all of it."""

    def __init__(self, *pieces: int, declared: bytes | None = None) -> None:
        self.left = list(pieces)
        self.seen = 0
        self.scope: dict[str, Any] = {"type": "http", "headers": []}
        if declared is not None:
            self.scope["headers"].append((b"content-length", declared))

    async def receive(self) -> dict[str, Any]:
        size = self.left.pop(0)
        return {"type": "http.request", "body": bytes(size), "more_body": bool(self.left)}

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            self.seen += len(message["body"])
            more = message["more_body"]

    async def served(self, limit: int) -> None:
        async def send(message: Any) -> None:
            raise AssertionError("nothing is sent here")

        await BodyLimitMiddleware(self.app, max_bytes=limit)(self.scope, self.receive, send)


@pytest.mark.parametrize("declared", [None, b"10", b"nonsense"])
async def test_a_body_of_exactly_the_limit_passes(declared: bytes | None) -> None:
    request = Request(4, 6, declared=declared)
    await request.served(10)
    assert request.seen == 10


async def test_a_declared_length_is_refused_before_the_app_runs_and_the_body_is_drained() -> None:
    request = Request(4, 7, declared=b"11")
    with pytest.raises(HTTPException) as caught:
        await request.served(10)
    assert caught.value.status_code == 413
    assert request.seen == 0
    assert request.left == []


async def test_a_body_without_a_length_is_counted() -> None:
    request = Request(8, 3, 5)
    with pytest.raises(HTTPException) as caught:
        await request.served(10)
    assert caught.value.status_code == 413
    assert request.seen == 8
    assert request.left == []  # the rest was dropped


async def test_draining_ends_at_8_mib() -> None:
    request = Request(*[2**20] * 20, declared=b"99999999")
    with pytest.raises(HTTPException):
        await request.served(10)
    assert len(request.left) == 11  # 9 of 20: the first one above 8 MiB was the last


async def test_a_limit_of_zero_takes_no_body_at_all() -> None:
    await Request(0).served(0)
    with pytest.raises(HTTPException):
        await Request(1).served(0)


async def test_other_scopes_pass() -> None:
    request = Request(100)
    request.scope["type"] = "websocket"
    await request.served(10)
    assert request.seen == 100


@pytest.mark.parametrize("limit", [-1, 1.5, True, None])
def test_a_limit_is_a_whole_number(limit: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="max_bytes"):
        BodyLimitMiddleware(Request().app, max_bytes=limit)
