"""Several processes that use one Redis at the same time, and outages played by a proxy, for cache and ratelimit."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

__all__ = ["in_processes", "slowest", "until"]

ROOT = Path(__file__).parent.parent


def in_processes(number: int, code: str, *arguments: str) -> list[Any]:
    """Run `code` in processes at the same time; return what each printed as JSON.

    Args:
        number: of processes.
        code: a program; it waits for a line on its standard input before it begins.
        arguments: its ``sys.argv[1:]``.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(number)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()  # it is ready
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [json.loads(process.communicate(timeout=60)[0]) for process in processes]


async def slowest(request: Callable[[], Awaitable[Any]], seconds: float) -> list[float]:
    """Make one request after the other for `seconds`, a millisecond apart; return their times in milliseconds, sorted.

    Args:
        request: what a service does for one of its callers.
        seconds: how long.
    """
    taken: list[float] = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        began = time.perf_counter()
        await request()
        taken.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.001)
    return sorted(taken)


async def until(condition: Callable[[], bool], limit: float = 20.0) -> float:
    """Wait until `condition` holds; return the seconds.

    Args:
        condition: asked every two milliseconds.
        limit: seconds after which it is an error.
    """
    began = time.perf_counter()
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.002)
    return time.perf_counter() - began
