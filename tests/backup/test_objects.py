"""The threads in which a bucket's requests wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from prodkit.backup.objects import Objects


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    opened = threading.Event()
    yield opened
    opened.set()


async def test_a_full_executor_of_the_loop_holds_no_request_up(gate: threading.Event) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as full:
        loop.set_default_executor(full)
        stuck = loop.run_in_executor(None, gate.wait, 60)
        objects = Objects("s3://bucket", {}, [])
        async with asyncio.timeout(30):
            assert await objects._call(lambda a, b: a + b, 1, b=2) == 3
        gate.set()
        await stuck


async def test_requests_that_were_given_up_take_nothing_from_the_loop(gate: threading.Event) -> None:
    objects = Objects("s3://bucket", {}, [])
    ran: list[int] = []

    def hang(number: int) -> None:
        ran.append(number)
        gate.wait(60)

    for number in range(100):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await objects._call(hang, number)
    async with asyncio.timeout(30):
        assert await asyncio.to_thread(int, "7") == 7
    gate.set()
    async with asyncio.timeout(30):
        assert await objects._call(int, "8") == 8
    assert len(ran) <= 8, "those that had not begun never do"
