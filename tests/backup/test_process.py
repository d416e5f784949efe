"""Programs in threads: their words, their end, and their caller's deadline."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from prodkit import Deadline
from prodkit.backup.process import in_deadline, in_thread, run
from prodkit.errors import BackupError


async def test_a_failure_has_the_programs_words() -> None:
    with pytest.raises(BackupError, match="sh failed: out of luck"):
        await run(["/bin/sh", "-c", "echo out of luck >&2; exit 3"], dict(os.environ), None)
    with pytest.raises(BackupError, match="ended by SIGKILL"):
        await run(["/bin/sh", "-c", "kill -9 $$"], dict(os.environ), None)
    with pytest.raises(BackupError, match="could not be started"):
        await run(["/no/such/program"], {}, None)


async def test_a_cancelled_caller_waits_for_the_end_of_its_thread() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(stop: threading.Event) -> None:
        begun.set()
        stop.wait(10)
        ended.set()

    task = asyncio.create_task(in_thread(work))
    while not begun.is_set():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_the_callers_deadline_ends_the_work() -> None:
    with Deadline.after(0.01), pytest.raises(BackupError, match="the backup did not end before"):
        async with in_deadline("the backup"):
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError):
        async with in_deadline("the backup"):
            raise TimeoutError
