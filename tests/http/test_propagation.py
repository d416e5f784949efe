from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

import prodkit as pk
from prodkit.core import correlation
from prodkit.http.propagation import DEADLINE, REQUEST_ID, TRACE, Propagation
from prodkit.testing import virtual_time

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _no_request() -> Iterator[None]:
    tokens = correlation.request_id.set(None), correlation.traceparent.set(None)
    yield
    correlation.request_id.reset(tokens[0])
    correlation.traceparent.reset(tokens[1])


def sent(limit: float | None = None, **headers: str) -> httpx.Headers:
    request = httpx.Request("GET", "https://api.example/", headers=headers)
    Propagation(request, pk.LoopClock(), limit).before_attempt()
    return request.headers


@virtual_time
async def test_the_id_and_the_trace_of_the_request_go_along() -> None:
    assert REQUEST_ID not in sent()
    correlation.request_id.set("r-1")
    correlation.traceparent.set(PARENT)
    headers = sent()
    assert headers[REQUEST_ID] == "r-1"
    assert headers[TRACE].startswith(PARENT[:35])
    assert headers[TRACE] != PARENT


@virtual_time
async def test_headers_that_the_caller_set_stay() -> None:
    correlation.request_id.set("r-1")
    given = {"x-request-id": "mine", "traceparent": PARENT, "x-deadline-ms": "7"}
    with pk.Deadline.after(2):
        headers = sent(1.0, **given)
    assert {name: headers[name] for name in given} == given


@virtual_time
async def test_the_remaining_time_is_the_sooner_of_limit_and_deadline_in_milliseconds() -> None:
    assert DEADLINE not in sent()
    assert sent(1.5)[DEADLINE] == "1500"
    with pk.Deadline.after(2):
        assert sent()[DEADLINE] == "2000"
        assert sent(1.5)[DEADLINE] == "1500"
        assert sent(9.0)[DEADLINE] == "2000"


@virtual_time
async def test_it_is_set_again_for_each_attempt_and_never_below_one() -> None:
    request = httpx.Request("GET", "https://api.example/")
    with pk.Deadline.after(2):
        headers = Propagation(request, pk.LoopClock(), None)
        headers.before_attempt()
        trace = request.headers[TRACE]
        await asyncio.sleep(1.5)
        headers.before_attempt()
        assert request.headers[DEADLINE] == "500"
        await asyncio.sleep(0.5)
        headers.before_attempt()
        assert request.headers[DEADLINE] == "1"
        assert request.headers[TRACE] == trace
