"""The transport under real clients of both libraries, against a real server on loopback."""

import asyncio
import contextlib
import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any, ClassVar

import httpx
import httpx2
import pytest

import prodkit as pk
from prodkit.http import (
    HostPolicies,
    ResilientTransport,
    default_policies,
    says_ill,
    says_overloaded,
)

pytestmark = pytest.mark.integration


class Server:
    """Answers each request with the next of its statuses, the last one for ever."""

    def __init__(self) -> None:
        self.statuses: list[int | str] = [200]
        self.headers = ""
        self.seen: list[str] = []
        self.port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                if length:
                    await reader.readexactly(int(length[0].split(b":")[1]))
                self.seen.append(head.split()[0].decode())
                status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
                if status == "cut":
                    break
                if status == "hang":
                    await asyncio.sleep(30)
                writer.write(f"HTTP/1.1 {status} X\r\n{self.headers}content-length: 2\r\n\r\nok".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    answers = Server()
    running = await asyncio.start_server(answers, "127.0.0.1", 0)
    answers.port = running.sockets[0].getsockname()[1]
    yield answers
    running.close()


def quick(host: str, runtime: pk.Runtime) -> HostPolicies:
    kit = default_policies(host, runtime)
    return HostPolicies(
        breaker=pk.CircuitBreaker(host, failures=5, open_for=30, on=says_ill),
        gate=kit.gate,
        budget=kit.budget,
        attempt_timeout=0.3,
    )


def one_strike(host: str, runtime: pk.Runtime) -> HostPolicies:
    kit = default_policies(host, runtime)
    breaker = pk.CircuitBreaker(host, failures=1, open_for=30, on=says_ill)
    return HostPolicies(breaker=breaker, gate=kit.gate, budget=kit.budget)


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


@pytest.fixture
async def client(library: Any, server: Server) -> AsyncIterator[Any]:
    transport = ResilientTransport(library.AsyncHTTPTransport(), policies=quick)
    async with library.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{server.port}") as client:
        yield client


async def test_a_passing_error_is_not_seen(client: Any, server: Server) -> None:
    server.statuses = [503, 500, 200]
    assert (await client.get("/")).text == "ok"
    assert len(server.seen) == 3


async def test_the_last_response_reaches_the_caller(client: Any, server: Server) -> None:
    server.statuses = [502]
    response = await client.get("/")
    assert (response.status_code, response.text) == (502, "ok")
    assert len(server.seen) == 3


async def test_the_librarys_own_error_reaches_the_caller(client: Any, server: Server, library: Any) -> None:
    server.statuses = ["cut"]
    with pytest.raises(library.RemoteProtocolError):
        await client.get("/")
    assert len(server.seen) == 3


async def test_a_post_is_not_repeated_once_it_was_sent(client: Any, server: Server) -> None:
    server.statuses = [503]
    assert (await client.post("/", content=b"pay")).status_code == 503
    assert server.seen == ["POST"]


async def test_a_stream_cannot_be_sent_twice(client: Any, server: Server) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"ab"

    server.statuses = [503]
    response = await client.put("/", content=body(), headers={"content-length": "2"})
    assert response.status_code == 503
    assert server.seen == ["PUT"]


async def test_client_errors_are_answers(client: Any, server: Server) -> None:
    server.statuses = [404]
    for _ in range(8):
        assert (await client.get("/")).status_code == 404
    assert len(server.seen) == 8


async def test_a_host_that_is_ill_is_spared(client: Any, server: Server) -> None:
    server.statuses = [500]
    await client.get("/")
    with pytest.raises(pk.CircuitOpenError):
        await client.get("/")
        await client.get("/")
    sent = len(server.seen)
    assert sent == 5
    with pytest.raises(pk.CircuitOpenError) as refused:
        await client.get("/")
    assert refused.value.retry_after is not None
    assert len(server.seen) == sent


async def test_throttling_closes_the_gate_for_all_and_not_the_breaker(client: Any, server: Server) -> None:
    server.statuses = [429]
    server.headers = "retry-after: 7\r\n"
    with pk.Deadline.after(1):
        assert (await client.get("/")).status_code == 429
        with pytest.raises(pk.RateLimitedError) as refused:
            await client.get("/other")
    assert 5 < (refused.value.retry_after or 0) < 8
    assert len(server.seen) == 1


async def test_a_hanging_attempt_is_cut_at_its_limit(client: Any, server: Server) -> None:
    server.statuses = ["hang", 200]
    with pytest.raises(pk.CallTimeoutError):
        await client.post("/", content=b"x")
    assert (await client.get("/")).text == "ok"


async def test_the_deadline_covers_all_attempts(client: Any, server: Server) -> None:
    server.statuses = ["hang"]
    began = asyncio.get_running_loop().time()
    with pk.Deadline.after(0.15), pytest.raises(pk.DeadlineExceededError):
        await client.get("/")
    assert asyncio.get_running_loop().time() - began < 1


async def test_connections_of_given_up_responses_go_back(library: Any, server: Server) -> None:
    limits: Callable[..., Any] = library.Limits
    wrapped = library.AsyncHTTPTransport(limits=limits(max_connections=1))
    async with library.AsyncClient(transport=ResilientTransport(wrapped, policies=quick)) as client:
        server.statuses = [503, 503, 200, 503, 503, 200]
        for _ in range(2):
            assert (await client.get(f"http://127.0.0.1:{server.port}/")).status_code == 200


async def test_a_get_that_hung_is_tried_again(client: Any, server: Server) -> None:
    server.statuses = ["hang", 200]
    assert (await client.get("/")).text == "ok"
    assert len(server.seen) == 2


async def test_a_rejected_response_gives_its_connection_back_when_nothing_follows(
    library: Any, server: Server
) -> None:
    wrapped = library.AsyncHTTPTransport(limits=library.Limits(max_connections=1))
    url = f"http://127.0.0.1:{server.port}/"
    async with library.AsyncClient(transport=ResilientTransport(wrapped, policies=one_strike)) as client:
        server.statuses = [503]
        with pytest.raises(pk.CircuitOpenError):
            await client.get(url)  # a 503, and the breaker refuses the second attempt
        request = library.Request("GET", url)
        server.statuses = [200]
        async with asyncio.timeout(2):
            assert (await wrapped.handle_async_request(request)).status_code == 200


async def test_a_caller_cancelled_between_attempts_leaves_no_connection_behind(
    library: Any, server: Server
) -> None:
    wrapped = library.AsyncHTTPTransport(limits=library.Limits(max_connections=1))
    url = f"http://127.0.0.1:{server.port}/"
    async with library.AsyncClient(transport=ResilientTransport(wrapped)) as client:
        server.statuses, server.headers = [429, 200], "retry-after: 20\r\n"
        task = asyncio.create_task(client.get(url))
        while not server.seen:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        async with asyncio.timeout(2):
            assert (await wrapped.handle_async_request(library.Request("GET", url))).status_code == 200


async def test_an_error_keeps_its_cause_says_how_often_and_leaves_no_cycle(library: Any) -> None:
    wrapped = library.AsyncHTTPTransport()
    async with library.AsyncClient(transport=ResilientTransport(wrapped)) as client:
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(library.ConnectError) as raised:
                await client.get("http://127.0.0.1:9/")
            assert type(raised.value.__cause__).__name__ == "ConnectError"
            assert any("3 attempts" in note for note in raised.value.__notes__)
            seen = weakref.ref(raised.value)
            del raised
            assert seen() is None
        finally:
            gc.enable()


async def test_timeouts_and_503_are_overload_and_illness(library: Any) -> None:
    seen: list[tuple[bool, bool]] = []

    def watch(error: BaseException) -> bool:
        seen.append((says_ill(error), says_overloaded(error)))
        return False

    class Scripted(library.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            step = request.url.path[1:]
            if step.isdigit():
                return library.Response(int(step))
            raise getattr(library, step)("x")

    def watched(host: str, runtime: pk.Runtime) -> HostPolicies:
        kit = default_policies(host, runtime)
        breaker = pk.CircuitBreaker("x", on=watch)
        return HostPolicies(breaker=breaker, gate=kit.gate, budget=kit.budget, attempts=1)

    transport = ResilientTransport(Scripted(), policies=watched)
    steps = ["503", "500", "429", "ReadTimeout", "ConnectError", "PoolTimeout"]
    for step in steps:
        with contextlib.suppress(library.TransportError):
            await transport.handle_async_request(library.Request("GET", f"http://a.example/{step}"))
    assert dict(zip(steps, seen, strict=True)) == {
        "503": (True, True),
        "500": (True, False),
        "429": (False, False),
        "ReadTimeout": (True, True),
        "ConnectError": (True, False),
        "PoolTimeout": (False, True),
    }


def test_a_transport_is_wanted() -> None:
    with pytest.raises(TypeError, match="must be a transport of httpx"):
        ResilientTransport(object())  # type: ignore[arg-type]


async def test_the_deadline_the_request_id_and_the_trace_cross_over(library: Any) -> None:
    from prodkit.core import correlation

    seen: list[Any] = []

    def handle(request: Any) -> Any:
        seen.append(request.headers)
        return library.Response(503 if len(seen) == 1 else 200)

    transport = ResilientTransport(library.MockTransport(handle))
    token = correlation.request_id.set("request-1")
    trace = correlation.traceparent.set(f"00-{'a' * 32}-{'b' * 16}-01")
    async with library.AsyncClient(transport=transport) as client:
        with pk.Deadline.after(5):
            await client.get("http://a.example/")
        await client.get("http://a.example/", headers={"X-Request-ID": "mine", "X-Deadline-Ms": "7"})
    correlation.request_id.reset(token)
    correlation.traceparent.reset(trace)
    assert 4000 < int(seen[0]["x-deadline-ms"]) <= 5000
    assert int(seen[1]["x-deadline-ms"]) <= int(seen[0]["x-deadline-ms"])
    assert seen[0]["x-request-id"] == "request-1"
    assert seen[0]["traceparent"].startswith(f"00-{'a' * 32}-")
    assert seen[0]["traceparent"].endswith("-01")
    assert "b" * 16 not in seen[0]["traceparent"]
    assert (seen[2]["x-request-id"], seen[2]["x-deadline-ms"]) == ("mine", "7")

    seen.clear()
    seen.append({})
    quiet = ResilientTransport(library.MockTransport(handle), propagate=lambda host: host.startswith("b."))
    async with library.AsyncClient(transport=quiet) as client:
        await client.get("http://a.example/")
        await client.get("http://b.example/")
    assert "traceparent" not in seen[1]
    assert int(seen[2]["x-deadline-ms"]) == 30000  # the attempt's own limit
    assert "x-request-id" not in seen[2]


def test_a_synchronous_client(library: Any, running_time: Callable[[], float]) -> None:
    statuses = [503, 429, 200]
    seen: list[Any] = []

    def handle(request: Any) -> Any:
        seen.append(request)
        status = statuses.pop(0) if statuses else 500
        return library.Response(status, headers={"retry-after-ms": "200"} if status == 429 else {})

    transport = ResilientTransport(library.MockTransport(handle))
    with library.Client(transport=transport, timeout=9) as client:
        began, ran = time.monotonic(), running_time()
        assert client.get("http://a.example/").status_code == 200
        assert time.monotonic() - began >= 0.2
        assert running_time() - ran < 2
        assert seen[0].extensions["timeout"]["read"] == 9
        assert client.get("http://a.example/").status_code == 500
        with pytest.raises(pk.CircuitOpenError):
            client.get("http://a.example/")
    assert transport.breaker("a.example:80").state == "open"  # type: ignore[union-attr]

    def slow(request: Any) -> Any:
        time.sleep(0.05)
        raise library.ReadTimeout("late", request=request)

    with (
        library.Client(transport=ResilientTransport(library.MockTransport(slow))) as client,
        pk.Deadline.after(0.04),
        pytest.raises(pk.DeadlineExceededError),
    ):
        client.get("http://a.example/")
    with pytest.raises(TypeError, match="a Client needs a synchronous transport"):
        library.Client(transport=ResilientTransport(library.AsyncHTTPTransport())).get("http://a.example/")


def test_a_synchronous_client_over_sockets(library: Any) -> None:
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        answers: ClassVar[list[int]] = [503, 503, 200]

        def do_GET(self) -> None:
            self.send_response(self.answers.pop(0))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        with library.Client(transport=ResilientTransport(library.HTTPTransport())) as client:
            assert client.get(f"http://127.0.0.1:{running.server_port}/").status_code == 200
        running.shutdown()
        thread.join()
    assert Handler.answers == []


def test_trio_is_refused_with_a_sentence(library: Any) -> None:
    async def ask() -> None:
        transport = ResilientTransport(library.MockTransport(lambda request: library.Response(200)))
        await transport.handle_async_request(library.Request("GET", "http://a.example/"))

    coroutine = ask()  # driven without asyncio, as another loop would
    with pytest.raises(RuntimeError, match="runs on asyncio: under trio"):
        coroutine.send(None)


async def test_a_synchronous_transport_under_an_async_client_is_refused(library: Any) -> None:
    async with library.AsyncClient(transport=ResilientTransport(library.HTTPTransport())) as client:
        with pytest.raises(TypeError, match="an AsyncClient needs an async transport"):
            await client.get("http://a.example/")
