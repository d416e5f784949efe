"""The end of a run against what comes across it: panics, interruptions while it is written, a lost event loop."""

import asyncio
import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest

from prodkit import Runtime, jobs
from prodkit.jobs.values import Run
from prodkit.policies.backoff import constant
from prodkit.testing import virtual_time


class Panic(BaseException):
    """As extension modules raise it: no Exception."""


class SlowEngine(jobs.MemoryEngine):
    """Takes its time to write an end, before or after it takes effect."""

    before = 0.0
    after = 0.0

    async def finish(self, *args: Any, **kwargs: Any) -> bool:
        await asyncio.sleep(self.before)
        held = await super().finish(*args, **kwargs)
        await asyncio.sleep(self.after)
        return held


async def worked(
    job: jobs.Job[..., Any],
    *,
    engine: jobs.MemoryEngine | None = None,
    seconds: float = 100.0,
    cancel: bool = False,
    grace: float = 10.0,
) -> tuple[Run, list[str]]:
    """The only run of `job` after so many seconds, and the names of the events."""
    engine = engine or jobs.MemoryEngine()
    runtime, events = Runtime(), list[str]()
    runtime.events.subscribe(lambda event: events.append(event.name))
    made = await job.enqueue(engine)
    async with jobs.Worker(engine, [job], runtime=runtime, grace=grace):
        await asyncio.sleep(1)
        if cancel:
            await jobs.Runs(engine).cancel(made.id)
        await asyncio.sleep(seconds)
    await asyncio.sleep(100)
    run = await jobs.Runs(engine).get(made.id)
    assert run is not None
    return run, events


@virtual_time
@pytest.mark.parametrize("error", [Panic, lambda: BaseExceptionGroup("several", [Panic(), OSError()])])
async def test_a_panic_is_a_failed_attempt(error: Callable[[], BaseException]) -> None:
    calls: list[int] = []

    @jobs.job(attempts=2, backoff=constant(1))
    async def body() -> None:
        calls.append(1)
        raise error()

    run, _ = await worked(body)
    assert (run.status, run.attempts, len(calls)) == ("dead", 2, 2)
    assert run.error.startswith("RuntimeError: the job raised ")


@virtual_time
@pytest.mark.parametrize("error", [Panic(), SystemExit(1), asyncio.CancelledError(), OSError()])
async def test_nothing_that_on_dead_raises_repeats_the_run(error: BaseException) -> None:
    calls: list[str] = []

    async def gone() -> None:
        calls.append("on_dead")
        raise error

    @jobs.job(attempts=1, on_dead=gone)
    async def body() -> None:
        calls.append("body")
        raise OSError("the disk is full")

    run, _ = await worked(body)
    assert (run.status, run.error) == ("dead", "OSError: the disk is full")
    assert calls == ["body", "on_dead"]


@virtual_time
async def test_on_dead_holds_the_slot_of_its_run() -> None:
    active, most = 0, 0

    async def busy() -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await asyncio.sleep(5)
        active -= 1

    @jobs.job(attempts=1, on_dead=busy)
    async def body() -> None:
        await busy()
        raise OSError("the disk is full")

    engine = jobs.MemoryEngine()
    for _ in range(4):
        await body.enqueue(engine)
    async with jobs.Worker(engine, [body], concurrency=1):
        await jobs.Runs(engine).wait_idle(timeout=3600)
    assert most == 1


@virtual_time
async def test_on_dead_may_sleep_and_goes_on_when_the_run_is_due() -> None:
    calls: list[str] = []

    async def gone() -> None:
        await jobs.sleep("a while", 20)
        calls.append("on_dead")

    @jobs.job(attempts=1, on_dead=gone)
    async def body() -> None:
        raise OSError("the disk is full")

    run, _ = await worked(body, seconds=25)
    assert (run.status, run.takes, calls) == ("dead", 2, ["on_dead"])


@virtual_time
async def test_a_group_is_tried_again_where_groups_are_named() -> None:
    calls: list[int] = []

    @jobs.job(attempts=3, backoff=constant(1), retry_on=ExceptionGroup)
    async def body() -> None:
        calls.append(1)
        raise ExceptionGroup("several", [OSError()])

    await worked(body)
    assert len(calls) == 3


@virtual_time
@pytest.mark.parametrize(
    ("before", "after", "seconds"),
    [(0.0, 40.0, 100.0), (9.0, 0.0, 0.0)],
    ids=["a heartbeat finds the ended run gone", "the grace ends first"],
)
async def test_an_interruption_leaves_an_end_that_is_being_written_alone(
    before: float, after: float, seconds: float
) -> None:
    @jobs.job
    async def body() -> None: ...

    engine = SlowEngine()
    engine.before, engine.after = before, after
    run, events = await worked(body, engine=engine, seconds=seconds, grace=7)
    assert (run.status, run.takes) == ("done", 1)
    assert "jobs.finished" in events
    assert "jobs.lost" not in events


@virtual_time
async def test_a_cancellation_that_overtakes_the_end_is_reported() -> None:
    @jobs.job
    async def body() -> None: ...

    engine = SlowEngine()
    engine.before = 5.0
    run, events = await worked(body, engine=engine, cancel=True)
    assert run.status == "cancelled"
    assert [name for name in events if name in ("jobs.cancelled", "jobs.finished", "jobs.lost")] == [
        "jobs.cancelled"
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_body_that_is_dropped_with_its_event_loop_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unraisable: list[object] = []

    def hook(found: Any) -> None:
        if "conclude" in repr(found.object):  # and not another test's garbage
            unraisable.append(found.exc_value)

    monkeypatch.setattr(sys, "unraisablehook", hook)

    async def main() -> jobs.Worker:
        @jobs.job
        async def body() -> None:
            await asyncio.sleep(1000)

        engine = jobs.MemoryEngine()
        await body.enqueue(engine)
        worker = jobs.Worker(engine, [body])
        await worker.start()
        while not worker.in_flight:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        return worker

    loop = asyncio.new_event_loop()
    worker = loop.run_until_complete(main())
    loop.close()
    del worker, loop
    gc.collect()
    caplog.clear()  # asyncio's own complaint about pending tasks
    assert unraisable == []
