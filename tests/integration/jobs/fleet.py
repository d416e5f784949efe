# ruff: noqa: T201
"""A job whose calls are counted on disk, and worker processes that can be killed.

Started as ``python fleet.py URL DIRECTORY [VERSION]`` this file is such a worker.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prodkit import jobs, postgres, running

STEPS = 5


def calls(directory: Path) -> list[str]:
    """Every call of a step, as ``run/step``, once for each time it was made."""
    return [line for each in directory.glob("*.calls") for line in each.read_text().splitlines()]


def make_job(directory: Path, version: int = 1) -> jobs.Job[..., Any]:
    """A job of five steps, of which the middle three run at once. Its result names the version of each step."""
    log = os.open(directory / f"{os.getpid()}.calls", os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    async def work(name: str, seconds: float) -> str:
        os.write(log, f"{jobs.current().run_id}/{name}\n".encode())
        await asyncio.sleep(seconds)
        return f"{name}@{version}"

    @jobs.job(name="fleet", attempts=100)
    async def fleet(pause: float) -> list[str]:
        rng = random.Random(str(jobs.current().run_id))
        step = jobs.step.using(version=version)

        def call(name: str) -> Any:
            return step(name, work, name, pause * (0.5 + rng.random()))

        first = await call("a")
        middle = await jobs.gather(call("b"), call("c"), call("d"))
        return [first, *middle, await call("e")]

    return fleet


async def serve(url: str, directory: Path, version: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    db = postgres.Pool(url, min_size=1, max_size=6, application_name="fleet")
    async with running(db, jobs.Worker(db, [make_job(directory, version)], concurrency=20, grace=5.0)):
        print("ready", flush=True)
        await stop.wait()
    print("gone", time.time(), flush=True)


class Process:
    """One worker process."""

    def __init__(self, url: str, directory: Path, version: int = 1) -> None:
        self._ready = False
        source = Path(jobs.__file__ or "").parents[2]
        self.process = subprocess.Popen(
            [sys.executable, __file__, url, str(directory), str(version)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
            text=True,
        )

    def ready(self) -> Process:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        self._ready = True
        return self

    def is_ready(self) -> bool:
        """True when the worker has said that it takes jobs; does not wait for it."""
        if not self._ready and self.process.stdout is not None:
            readable, _, _ = select.select([self.process.stdout], [], [], 0)
            self._ready = bool(readable) and self.process.stdout.readline() == "ready\n"
        return self._ready

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def workers(url: str, directory: Path, count: int, version: int = 1) -> Iterator[list[Process]]:
    """`count` worker processes that take jobs; killed at the end."""
    fleet = [Process(url, directory, version) for _ in range(count)]
    try:
        for each in fleet:
            each.ready()
        yield fleet
    finally:
        for each in fleet:
            each.end()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
