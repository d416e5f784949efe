"""The event stream, the drain and the health routes under a real uvicorn in its own process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.integration

APP = """
import asyncio, sys
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from prodkit import CheckResult, Health, progress, web

channel = progress.Channel()
drain = web.Drain(delay=float(sys.argv[2]))
open_streams = 0

class Hanging:
    name = "hanging"
    hang = False
    async def check(self):
        if self.hang:
            await asyncio.sleep(30)
        return CheckResult("up")

hanging = Hanging()

@asynccontextmanager
async def lifespan(app):
    async def work():
        for n in range(1, 100_000):
            await channel.publish("t", "step", {"n": n})
            await asyncio.sleep(0.02)
    with drain.on_signals():
        worker = asyncio.create_task(work())
        yield
        worker.cancel()
        print("lifespan shutdown ran", flush=True)

async def events(request):
    global open_streams
    async def follow():
        global open_streams
        open_streams += 1
        try:
            async for event in channel.subscribe(request.path_params["topic"], after=web.last_event_id(request)):
                yield event
        finally:
            open_streams -= 1
    return web.EventStream(follow(), drain=drain, heartbeat=0.3)

async def count(request):
    return PlainTextResponse(str(open_streams))

async def hang(request):
    hanging.hang = True
    return PlainTextResponse("ok")

app = Starlette(lifespan=lifespan, routes=[
    Route("/events/{topic}", events), Route("/count", count), Route("/hang", hang),
    *web.health_routes(Health(hanging), drain=drain),
])
web.install(app, drain=drain)

if __name__ == "__main__":
    import uvicorn
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""


class Server:
    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    delay = getattr(request, "param", 0)
    program = tmp_path / "app.py"
    program.write_text(textwrap.dedent(APP))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(program), str(port), str(delay)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                httpx.get(url + "/count")
                break
            except httpx.TransportError:
                assert process.poll() is None, process.stdout.read() if process.stdout else ""
                time.sleep(0.05)
        yield Server(process, url)
    finally:
        process.kill()
        process.communicate()


def ids(lines: Iterator[str], count: int) -> list[int]:
    found: list[int] = []
    for line in lines:
        if line.startswith("id: "):
            found.append(int(line[4:]))
            if len(found) == count:
                break
    return found


def wait_for(check: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_reconnects_over_real_sockets_are_gapless(server: Server) -> None:
    seen: list[int] = []
    for _ in range(20):
        headers = {"last-event-id": str(seen[-1])} if seen else {}
        with httpx.stream("GET", server.url + "/events/t", headers=headers) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert "content-encoding" not in response.headers
            assert "content-security-policy" in response.headers
            seen += ids(response.iter_lines(), 4)
    assert seen == list(range(1, 81))
    wait_for(
        lambda: httpx.get(server.url + "/count").text == "0", 1.0
    )  # cleaned up within a second of leaving


def test_an_idle_stream_beats(server: Server) -> None:
    with httpx.stream("GET", server.url + "/events/empty", timeout=5) as response:
        beats = 0
        for line in response.iter_lines():
            beats += line == ": ping"
            if beats == 3:
                break
    assert beats == 3


def test_sigterm_with_open_streams_ends_at_once_and_the_lifespan_runs(
    server: Server, running_time: Callable[[], float]
) -> None:
    with httpx.Client() as client:
        streams = [
            client.send(client.build_request("GET", server.url + "/events/t"), stream=True) for _ in range(10)
        ]
        lines = [stream.iter_lines() for stream in streams]
        for each in lines:
            ids(each, 1)
        began = running_time()
        server.process.send_signal(signal.SIGTERM)
        for each in lines:
            ids(each, 1_000_000)  # ends without a protocol error
    output, _ = server.process.communicate(timeout=10)
    assert running_time() - began < 5
    assert "lifespan shutdown ran" in output


def test_a_hung_dependency_does_not_hang_the_report(server: Server) -> None:
    assert httpx.get(server.url + "/api/health").json()["status"] == "up"
    httpx.get(server.url + "/hang")
    spent = []
    end = time.monotonic() + 4.5
    with httpx.Client(timeout=10) as client:
        while time.monotonic() < end:
            began = time.monotonic()
            status = client.get(server.url + "/api/health").json()["status"]
            spent.append(time.monotonic() - began)
            assert client.get(server.url + "/api/health/live").status_code == 200
            time.sleep(0.01)
    assert status == "down"
    assert sorted(spent)[int(len(spent) * 0.99)] < 0.5  # 0.05 s of patience, on a machine that may be busy


@pytest.mark.parametrize("server", [1.5], indirect=True)
def test_sigterm_loses_no_request_of_keep_alive_clients_behind_a_balancer(server: Server) -> None:
    """The balancer looks at readiness every 0.1 s and stops sending at the first 503."""
    rotation, lost, served, closed = threading.Event(), [], [], []
    rotation.set()

    def client() -> None:
        with httpx.Client() as connection:
            while rotation.is_set():
                try:
                    response = connection.get(server.url + "/count")
                    served.append(response.status_code)
                    closed.append(response.headers.get("connection") == "close")
                except httpx.TransportError as error:
                    lost.append(repr(error))
                time.sleep(0.005)

    def balancer() -> None:
        while httpx.get(server.url + "/api/health/ready").status_code == 200:
            time.sleep(0.1)
        time.sleep(0.3)  # it acts late
        rotation.clear()

    threads = [threading.Thread(target=client) for _ in range(20)] + [threading.Thread(target=balancer)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(15)
    output, _ = server.process.communicate(timeout=10)
    assert lost == []
    assert set(served) == {200}
    assert any(closed)
    assert "lifespan shutdown ran" in output
