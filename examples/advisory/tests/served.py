"""The app as an operator runs it: processes on one environment, and a balancer in front that watches readiness."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx

import advisory
import prodkit

PATHS = os.pathsep.join(str(Path(each.__file__).parent.parent) for each in (advisory, prodkit))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Deployment:
    """Processes that share an environment; those that still run are killed at the end.

    Args:
        directory: for logs and backups.
        variables: the environment of each process.
        cgroup: a control group that each process joins, or None.
    """

    def __init__(self, directory: Path, variables: dict[str, str], *, cgroup: Path | None = None) -> None:
        self.directory = directory
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        # As in the image, modules are compiled once and not in each process; the directory is the session's.
        compiled = {"PYTHONPYCACHEPREFIX": str(directory.parent / "bytecode")}
        self.variables = {**kept, "PYTHONPATH": PATHS, **compiled, **variables}
        self.cgroup = cgroup
        self.processes: list[subprocess.Popen[bytes]] = []

    def run(self, module: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def serve(self) -> tuple[subprocess.Popen[bytes], int]:
        """Start a web process; return it and its port."""
        port = free_port()
        return self._start("serve", PORT=str(port), WORKER="false"), port

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker and wait until it takes jobs."""
        process = self._start("worker")
        log = self._log(len(self.processes))
        wait_for(lambda: b"takes jobs" in log.read_bytes(), 60, "the worker")
        return process

    def _start(self, command: str, **variables: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "advisory", command]
        if self.cgroup is not None:
            words = ["sh", "-c", f'echo $$ > {self.cgroup}/cgroup.procs && exec "$0" "$@"', *words]
        with self._log(len(self.processes) + 1).open("wb") as log:
            process = subprocess.Popen(words, env={**self.variables, **variables}, stderr=log)
        self.processes.append(process)
        return process

    def _log(self, number: int) -> Path:
        return self.directory / f"process-{number}.log"

    def logs(self) -> str:
        return "\n".join(each.read_text() for each in sorted(self.directory.glob("process-*.log")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.processes:
            if each.poll() is None:
                each.kill()
            each.wait()


def wait_for(condition: Any, seconds: float, what: str) -> float:
    """Wait until `condition()` is true; return the seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - began


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """The time that `process` has computed, which a busy machine does not stretch as it stretches the clock's."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ready(port: int) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/api/health/ready", timeout=2).status_code == 200
    return False


class Balancer:
    """A TCP balancer: new connections go in turn to backends whose readiness was 200 at the last look.

    Args:
        ports: the first backends.
        period: seconds between two looks.
    """

    def __init__(self, *ports: int, period: float = 0.5) -> None:
        self.ports = list(ports)
        self.port = 0
        self._period = period
        self._up: set[int] = set(ports)
        self._turn = 0
        self._started = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="balancer", daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        pumps: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            pumps.add(task)
            with suppress(OSError, asyncio.CancelledError):
                await self._connect(reader, writer)
            pumps.discard(task)
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        watch = asyncio.create_task(self._watch())
        self._started.set()
        await self._stop.wait()
        server.close()
        watch.cancel()
        for each in tuple(pumps):
            each.cancel()
        await asyncio.gather(watch, *pumps, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            up = {port for port in tuple(self.ports) if await asyncio.to_thread(ready, port)}
            self._up = up or self._up
            await asyncio.sleep(self._period)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backends = sorted(self._up)
        self._turn += 1
        back_reader, back_writer = await asyncio.open_connection(
            "127.0.0.1", backends[self._turn % len(backends)]
        )

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(65536):
                    target.write(data)
                    await target.drain()
            with suppress(OSError):
                if target.can_write_eof():
                    target.write_eof()

        try:
            there = asyncio.create_task(pump(reader, back_writer))
            await pump(back_reader, writer)  # after the server's last bytes the client's connection ends
            there.cancel()
            await asyncio.gather(there, return_exceptions=True)
        finally:
            back_writer.close()


class Load:
    """Clients with kept-alive connections that ask again and again, and count what was not answered with 200."""

    def __init__(self, url: str, paths: tuple[str, ...], *, clients: int = 4, pause: float = 0.05) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self.seconds: dict[str, list[float]] = {path: [] for path in paths}
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(url, paths, pause), daemon=True) for _ in range(clients)
        ]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join(20)

    def _ask(self, url: str, paths: tuple[str, ...], pause: float) -> None:
        with httpx.Client(base_url=url, timeout=15) as client:
            while not self._stop.is_set():
                for path in paths:
                    began = time.monotonic()
                    try:
                        answer = client.get(path)
                    except httpx.HTTPError as error:
                        self.failures.append(f"{path}: {error!r}")
                    else:
                        self.seconds[path].append(time.monotonic() - began)
                        self.answered += 1
                        if answer.status_code != 200:
                            self.failures.append(f"{path}: {answer.status_code}")
                self._stop.wait(pause)
