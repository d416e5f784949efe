"""Calls inside a job that record nothing: which run this is, several steps at once, writes and progress."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, TypeVar
from uuid import UUID

from prodkit.core.validate import Arguments
from prodkit.jobs.execution import CURRENT, Execution
from prodkit.jobs.values import Claim, check_text

__all__ = ["current", "gather", "idempotency_key", "publish", "transaction"]

T = TypeVar("T")


async def gather(*calls: Awaitable[T], limit: int | None = None) -> list[T]:
    """Await several steps at once and return their results in order.

    Unlike ``asyncio.gather``, an error waits for the other steps: what they cost is recorded before it is raised.
    Several errors are raised as an ExceptionGroup.

    Args:
        *calls: coroutines of steps.
        limit: steps in flight at once, in the order of `calls`; None for all of them.
    """
    check = Arguments("gather")
    check.integer("limit", limit, minimum=1, optional=True)
    try:
        check.done()
        slots = None if limit is None else asyncio.Semaphore(limit)
        tasks = [asyncio.ensure_future(call if slots is None else _within(slots, call)) for call in calls]
        try:
            if tasks:
                await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
    finally:
        for call in filter(inspect.iscoroutine, calls):
            call.close()  # refused, or cancelled while it waited for a slot: it never started
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup(f"{len(errors)} steps failed", errors)
    return [task.result() for task in tasks]


async def _within(slots: asyncio.Semaphore, call: Awaitable[T]) -> T:
    async with slots:
        return await call


def transaction() -> AbstractAsyncContextManager[Any]:
    """Open a transaction for writes of your own that hold only while the run is this worker's.

    ``async with jobs.transaction() as tx`` yields a connection. Prefer ``step.using(write=…)``, which records the step
    in the same transaction.

    Raises:
        RunLostError: the run was cancelled or taken over.
    """
    run = run_of("transaction")
    if run.claim is None or run.engine is None:
        return nullcontext(None)
    return run.engine.transaction(run.claim)


async def publish(name: str, data: Any = None) -> None:
    """Publish progress on the worker's channel, under the topic ``job:<run id>``; nothing without a channel.

    Args:
        name: the event's name, such as ``"expert.finished"``.
        data: JSON.
    """
    run = run_of("publish")
    if run.channel is not None and run.claim is not None:
        await run.channel.publish(f"job:{run.claim.run_id}", name, data)


def current() -> Claim:
    """Return the run that is being executed: its id, fence, number of takes and attempts.

    Raises:
        RuntimeError: outside a worker.
    """
    claim = run_of("current").claim
    if claim is None:
        raise RuntimeError("jobs.current() needs a worker: this job is called in place")
    return claim


def idempotency_key(name: str) -> str:
    """Return a key for the other side that is the same in every attempt of this run.

    Send it as ``Idempotency-Key`` with a call that must take effect once: a repeated call is then recognised.

    Args:
        name: the step that makes the call.
    """
    claim = run_of("idempotency_key").claim
    return str(UUID(int=0) if claim is None else claim.run_id) + ":" + name


def run_of(what: str) -> Execution:
    run = CURRENT.get()
    if run is None:
        raise RuntimeError(f"jobs.{what} is called inside a job: enqueue the job, or call it in a test")
    return run


def check_name(name: object) -> None:
    check = Arguments("step")
    check_text(check, "name", name)
    check.done()
