"""Waits that hold no worker: for a time, and for a signal."""

from __future__ import annotations

import json
from typing import Any, Final

from prodkit.core.validate import Arguments
from prodkit.jobs.codec import encode
from prodkit.jobs.context import check_name, run_of
from prodkit.jobs.values import Recorded

__all__ = ["signal", "sleep"]

_AWAKE: Final = 2.0
"""Seconds that are slept in the worker: giving the run back and taking it again costs more."""


async def sleep(name: str, seconds: float) -> None:
    """Wait `seconds` from the first call in this run, across crashes and deploys; no worker is held for it.

    Args:
        name: unique within the run.
        seconds: the length of the wait.
    """
    check = Arguments("sleep")
    check.seconds("seconds", seconds, zero=True)
    check.done()
    run = run_of("sleep")
    check_name(name)
    run.reserve(name)
    try:
        known = run.recorded.get(name)
        now = await run.now()
        if known is None:
            due = now + seconds
            await run.record(name, Recorded("done", "", "", encode(due)))
        else:
            due = float(json.loads(known.result))
        left = due - now
        if left > _AWAKE and run.claim is not None:
            await run.suspend(left)
        elif left > 0:
            await run.clock.sleep(left)
    finally:
        run.unreserve(name, done=True)


async def signal(name: str, *, timeout: float | None = None) -> Any:
    """Wait for ``Runs.signal(run_id, name, data)`` and return the data; no worker is held for it.

    Args:
        name: the signal, unique within the run.
        timeout: seconds after which TimeoutError is raised; None waits as long as the run is kept.

    Raises:
        TimeoutError: no signal came in time.
    """
    check = Arguments("signal")
    check.seconds("timeout", timeout, optional=True)
    check.done()
    run = run_of("signal")
    check_name(name)
    if run.claim is None or run.engine is None:
        raise RuntimeError("jobs.signal needs a worker: this job is called in place")
    run.reserve(name)
    done = True
    timer = f"{name}:timeout"
    if timer in run.recorded:
        run.used.add(timer)
    try:
        known = run.recorded.get(name)
        if known is not None and known.status == "done":
            return json.loads(known.result)
        data = await run.engine.take_signal(run.claim.run_id, name)
        if data is not None:
            await run.record(name, Recorded("done", "", "", data))
            return json.loads(data)
        done = False
        left = None
        if timeout is not None:
            limit = run.recorded.get(timer)
            now = await run.now()
            due = now + timeout if limit is None else float(json.loads(limit.result))
            if limit is None:
                await run.record(timer, Recorded("done", "", "", encode(due)))
                run.used.add(timer)
            left = due - now
            if left <= 0:
                raise TimeoutError(f"no signal {name!r} within {timeout} s")
        await run.suspend(left, name)
    finally:
        run.unreserve(name, done=done)
