"""The transport over one that answers in memory; sockets and both libraries: tests/integration/http."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

import prodkit as pk
from prodkit.http import ResilientTransport
from prodkit.http.policies import HostPolicies, default_policies
from prodkit.testing import virtual_time

Answer = Callable[[httpx.Request], httpx.Response]


class Host:
    """Answers with `statuses`, one after the other, the last one again and again."""

    def __init__(self, *statuses: int, **headers: str) -> None:
        self.statuses = list(statuses)
        self.headers = headers
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return httpx.Response(status, headers=self.headers, content=b"body")


def client(host: Answer) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=ResilientTransport(httpx.MockTransport(host)))


@virtual_time
async def test_a_passing_error_is_not_seen_and_the_body_is() -> None:
    host = Host(503, 200)
    async with client(host) as http:
        response = await http.get("https://api.example/")
    assert (response.status_code, response.text, len(host.requests)) == (200, "body", 2)


@virtual_time
async def test_the_last_response_reaches_the_caller_and_a_post_is_sent_once() -> None:
    host = Host(500)
    async with client(host) as http:
        assert (await http.get("https://api.example/")).status_code == 500
        assert len(host.requests) == 3
        assert (await http.post("https://api.example/", content=b"x")).status_code == 500
    assert len(host.requests) == 4


@virtual_time
async def test_a_failing_host_is_refused_and_another_one_is_not() -> None:
    host = Host(500)
    async with client(host) as http:
        for _ in range(5):
            await http.post("https://a.example/")
        with pytest.raises(pk.CircuitOpenError):
            await http.post("https://a.example/")
        assert (await http.post("https://b.example/")).status_code == 500
    assert len(host.requests) == 6


@virtual_time
async def test_an_attempt_ends_at_its_limit_and_the_call_at_the_deadline() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(1e6)
        return httpx.Response(200)

    def impatient(host: str, runtime: pk.Runtime) -> HostPolicies:
        made = default_policies(host, runtime)
        return HostPolicies(
            breaker=made.breaker, gate=made.gate, budget=made.budget, attempts=1, attempt_timeout=2.0
        )

    transport = ResilientTransport(httpx.MockTransport(hang), policies=impatient)
    loop = asyncio.get_running_loop()
    async with httpx.AsyncClient(transport=transport) as http:
        with pytest.raises(pk.CallTimeoutError):
            await http.get("https://api.example/")
        assert loop.time() == 2
        with pk.Deadline.after(1), pytest.raises(pk.DeadlineExceededError):
            await http.get("https://api.example/")
        assert loop.time() == 3


@virtual_time
async def test_headers_are_sent_to_the_hosts_that_were_chosen() -> None:
    host = Host(200)
    transport = ResilientTransport(
        httpx.MockTransport(host), propagate=lambda name: name == "mine.example:443"
    )
    async with httpx.AsyncClient(transport=transport) as http:
        await http.get("https://mine.example/")
        await http.get("https://other.example/")
    assert ["traceparent" in request.headers for request in host.requests] == [True, False]


def test_a_synchronous_client_is_guarded_too() -> None:
    host = Host(200)
    with httpx.Client(transport=ResilientTransport(httpx.MockTransport(host))) as http:
        assert http.get("https://api.example/").text == "body"


def test_all_wrong_arguments_are_named_at_once() -> None:
    with pytest.raises(TypeError) as refused:
        ResilientTransport(object(), policies=3, propagate="yes")  # type: ignore[arg-type]
    assert all(name in str(refused.value) for name in ("wrapped", "policies", "propagate"))
