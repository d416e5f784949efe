"""The id of a request: made here, or taken from a peer that may give one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from prodkit.core import correlation
from prodkit.web.proxy import ProxyMiddleware
from prodkit.web.request_id import RequestIdMiddleware, current_request_id

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Served:
    """One request through the layer, and all that its app and its client saw."""

    def __init__(self, **headers: str) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "client": ("10.0.0.1", 1),
            "headers": [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()],
        }
        self.own: list[tuple[bytes, bytes]] = []
        self.sent: list[dict[str, Any]] = []
        self.inside: str | None = None
        self.trace: str | None = None
        self.fails = False

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.inside, self.trace = current_request_id(), correlation.traceparent.get()
        if self.fails:
            raise LookupError
        await send({"type": "http.response.start", "status": 200, "headers": self.own})

    async def run(self, *, proxy: bool = False, **options: Any) -> str:
        async def send(message: Any) -> None:
            self.sent.append(message)

        async def receive() -> Any:
            raise AssertionError

        layer: Any = RequestIdMiddleware(self.app, **options)
        await (ProxyMiddleware(layer, trusted="10.0.0.0/8") if proxy else layer)(self.scope, receive, send)
        return str(self.scope["state"]["request_id"])


async def test_each_request_has_an_id_of_its_own_everywhere() -> None:
    first, second = Served(), Served()
    one, other = await first.run(), await second.run()
    assert one != other
    assert len(one) == 32
    assert first.inside == one
    assert first.sent[0]["headers"] == [(b"x-request-id", one.encode())]
    assert current_request_id() is None


async def test_a_strangers_id_and_trace_are_not_taken() -> None:
    served = Served(x_request_id="abcdefgh-1", traceparent=TRACE)
    assert await served.run() != "abcdefgh-1"
    assert served.trace is None


@pytest.mark.parametrize("options", [{"trust": True}, {"proxy": True}])
async def test_a_trusted_id_and_trace_are_taken(options: dict[str, bool]) -> None:
    served = Served(x_request_id="abcdefgh-1", traceparent=TRACE)
    assert await served.run(**options) == "abcdefgh-1"
    assert served.trace == TRACE
    assert correlation.traceparent.get() is None


@pytest.mark.parametrize(
    "given", ["short", "x" * 65, "with space", "a\nforged: line", "<script>", "abcdefgh\n"]
)
async def test_an_id_that_would_not_be_safe_in_a_log_is_replaced(given: str) -> None:
    assert await Served(x_request_id=given).run(trust=True) != given


async def test_a_response_keeps_an_id_that_it_has() -> None:
    served = Served()
    served.own = [(b"X-Request-ID", b"mine-own-1")]
    await served.run()
    assert served.sent[0]["headers"] == [(b"X-Request-ID", b"mine-own-1")]


async def test_nothing_is_left_behind_by_a_request_that_fails() -> None:
    entered: list[str] = []

    @contextmanager
    def context(request_id: str) -> Iterator[None]:
        entered.append(request_id)
        try:
            yield
        finally:
            entered.append("left")

    served = Served()
    served.fails = True
    with pytest.raises(LookupError):
        await served.run(context=context)
    assert entered == [served.inside, "left"]
    assert current_request_id() is None


async def test_a_lifespan_has_no_id() -> None:
    served = Served()
    served.scope["type"] = "lifespan"
    with pytest.raises(KeyError):
        await served.run()
    assert served.inside is None
