"""Calls inside a job. :data:`step` records a result; the others build on what is recorded."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final, Literal, Protocol, TypeVar, overload
from uuid import UUID

from prodkit.core.validate import Arguments
from prodkit.errors import InvalidError, RejectedError
from prodkit.jobs.codec import decode, digest, encode, returned
from prodkit.jobs.engine import Claim, Recorded, Write
from prodkit.jobs.errors import StepChangedError, StepUnknownError
from prodkit.jobs.events import StepFailed, StepFinished
from prodkit.jobs.execution import CURRENT, Execution
from prodkit.jobs.fingerprint import fingerprint

__all__ = [
    "Step",
    "current",
    "gather",
    "idempotency_key",
    "publish",
    "signal",
    "sleep",
    "step",
    "stream",
    "transaction",
]

T = TypeVar("T")
_LONGEST_NAME: Final = 200
_AWAKE: Final = 2.0
"""Seconds that are slept in the worker: giving the run back and taking it again costs more."""
_FLUSH: Final = 0.2


class Guard(Protocol):
    """A policy of the kit, or a pipeline of them."""

    async def run(self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Any:
        """Call `fn` under the policy."""
        ...


class Step:
    """Call a function once per run and record its result. Use the instance :data:`prodkit.jobs.step`.

    ``await jobs.step("opinion", ask, question)`` calls ``ask(question)`` and stores what it returns. When the run is
    resumed, the stored result is returned and ``ask`` is not called. An error is not stored: the body may catch it,
    call the step again, or let the attempt fail.

    Args:
        version: declare the code's version; a fingerprint of the function's own code when None. Raise it when a
            function that the step calls has changed its meaning.
        policy: a policy or pipeline around the call, such as ``pk.Retry(attempts=3)``.
        once: record the start of the call too. After a crash in mid-call the step raises StepUnknownError instead of
            calling again: for payments and messages that must not be sent twice.
        write: an async function of a connection and the result: writes rows of yours in the transaction that records
            the step, so they exist exactly once.
        on_change: ``"raise"`` StepChangedError, ``"rerun"`` the step, or ``"keep"`` the stored result when the stored
            step belongs to other code or other arguments.
    """

    __slots__ = ("_on_change", "_once", "_policy", "_version", "_write")

    def __init__(
        self,
        *,
        version: str | int | None = None,
        policy: Guard | None = None,
        once: bool = False,
        write: Callable[[Any, Any], Awaitable[object]] | None = None,
        on_change: Literal["raise", "rerun", "keep"] = "raise",
    ) -> None:
        check = Arguments("step")
        check.instance("version", version, (str, int), "a string or a number", optional=True)
        check.instance("once", once, bool, "True or False")
        check.function("write", write, optional=True)
        check.one_of("on_change", on_change, ("raise", "rerun", "keep"))
        check.that(
            policy is None or hasattr(policy, "run"), f"policy must be a policy of the kit, got {policy!r}"
        )
        check.done()
        self._version = version
        self._policy = policy
        self._once = once
        self._write = write
        self._on_change = on_change

    def using(
        self,
        *,
        version: str | int | None = None,
        policy: Guard | None = None,
        once: bool = False,
        write: Callable[[Any, Any], Awaitable[object]] | None = None,
        on_change: Literal["raise", "rerun", "keep"] = "raise",
    ) -> Step:
        """Return a step with these options: ``await jobs.step.using(once=True)("charge", pay, order)``.

        Args:
            version: the code's version; a fingerprint of the function when None.
            policy: a policy or pipeline around the call.
            once: never call again after a crash in mid-call.
            write: async function of a connection and the result, run in the recording transaction.
            on_change: ``"raise"``, ``"rerun"`` or ``"keep"`` when the stored step belongs to other code.
        """
        return Step(version=version, policy=policy, once=once, write=write, on_change=on_change)

    @overload
    async def __call__(
        self, name: str, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> T: ...
    @overload
    async def __call__(self, name: str, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T: ...
    async def __call__(self, name: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Return the recorded result of the step, or call ``fn(*args, **kwargs)`` and record it.

        A plain function runs in a thread. The result goes through JSON and the function's return annotation, on the
        first call too.

        Args:
            name: unique within the run and the same in every run of the body, such as ``"opinion:3"``.
            fn: an async or plain function.
            *args: its arguments.
            **kwargs: its arguments.

        Raises:
            StepChangedError: the recorded step belongs to other code or other arguments.
            StepUnknownError: a step with ``once`` was interrupted in mid-call.
            RunLostError: the run was cancelled or taken over while the step ran.
        """
        run = _run("step")
        _check_name(name)
        if not callable(fn):
            raise TypeError(f"step takes a function, got {fn!r}: pass the function and its arguments")
        version = str(self._version) if self._version is not None else fingerprint(fn)
        arguments = digest(args, kwargs)
        annotation = returned(fn)
        run.reserve(name)
        done = False
        try:
            known = run.recorded.get(name)
            if known is not None and self._valid(name, known, version, arguments):
                done = True
                return decode(known.result, annotation)
            value = await self._fresh(run, name, fn, args, kwargs, version, arguments, annotation)
            done = True
            return value
        finally:
            run.unreserve(name, done=done)

    async def _fresh(
        self,
        run: Execution,
        name: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        version: str,
        arguments: str,
        annotation: Any,
    ) -> Any:
        await run.enter()
        try:
            if self._once:
                await run.record(name, Recorded("started", version, arguments, ""))
            began = run.clock.monotonic()
            value = await self._call(run, name, fn, args, kwargs)
            text = encode(value)
            value = decode(
                text, annotation
            )  # before it is recorded: what does not fit is an error of this call
            also = self._write
            write: Write | None = None if also is None else (lambda connection: also(connection, value))
            await run.record(name, Recorded("done", version, arguments, text), write)
            claim = run.claim
            if claim is not None and run.events.listened(StepFinished):
                run.events.emit(
                    StepFinished(
                        kind=claim.kind,
                        run=str(claim.run_id),
                        step=name,
                        duration=run.clock.monotonic() - began,
                    )
                )
            return value
        finally:
            run.leave()

    async def _call(
        self, run: Execution, name: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        target = fn if _is_async(fn) else functools.partial(_in_thread, fn)
        try:
            if self._policy is not None:
                return await self._policy.run(target, *args, **kwargs)
            return await target(*args, **kwargs)
        except Exception as error:
            if self._once and isinstance(error, RejectedError | InvalidError):
                await run.record(name, Recorded("started", "", "", ""), forget=True)  # it did not run
            claim = run.claim
            if claim is not None and run.events.listened(StepFailed):
                run.events.emit(
                    StepFailed(kind=claim.kind, run=str(claim.run_id), step=name, error=type(error).__name__)
                )
            raise

    def _valid(self, name: str, known: Recorded, version: str, arguments: str) -> bool:
        if known.status == "started":
            if not self._once:
                return False
            raise StepUnknownError(
                f"the step {name!r} was started and its outcome is unknown: look at the other side, then"
                " Runs.resolve(run, step, result) if it took effect, or Runs.retry(run, forget=[step]) if it did not",
                step=name,
            )
        same_code = not known.version or not version or known.version == version
        same_arguments = not known.arguments or not arguments or known.arguments == arguments
        if (same_code and same_arguments) or self._on_change == "keep":
            return True
        if self._on_change == "rerun":
            return False
        what = "with other arguments" if same_code else "by other code"
        raise StepChangedError(
            f"the step {name!r} was recorded {what}: finish this run with the code that began it, or choose for this"
            f" run: prodkit jobs retry RUN --forget {name} (call it again) or --accept (use the recorded results)",
            step=name,
        )


step: Final = Step()
"""Call a function once per run and record its result: ``await jobs.step("name", fn, *args)``."""


async def stream(
    name: str, fn: Callable[..., AsyncIterator[str]], /, *args: Any, version: str | int | None = None
) -> str:
    """Record a text while it arrives, so that half of it survives a crash, and return the whole.

    ``fn(written, *args)`` is an async generator of the chunks that follow `written`, the text recorded so far: empty
    at first, the first half after a crash. Chunks are recorded in order, every 0.2 s and at the end.

    Args:
        name: unique within the run.
        fn: an async generator function of the text so far and `args`.
        *args: further arguments.
        version: the code's version; a fingerprint of `fn` when None.

    Raises:
        StepChangedError: the recorded text belongs to other code.
    """
    run = _run("stream")
    _check_name(name)
    if not inspect.isasyncgenfunction(fn):
        raise TypeError(f"stream takes an async generator function, got {fn!r}")
    code = str(version) if version is not None else fingerprint(fn)
    known = run.recorded.get(name)
    run.reserve(name)
    done = False
    try:
        if known is not None and step._valid(name, known, code, ""):
            done = True
            return str(json.loads(known.result))
        await run.enter()
        try:
            text = await _streamed(run, name, fn, args)
            await run.record(name, Recorded("done", code, "", encode(text)))
        finally:
            run.leave()
        done = True
        return text
    finally:
        run.unreserve(name, done=done)


async def _streamed(
    run: Execution, name: str, fn: Callable[..., AsyncIterator[str]], args: tuple[Any, ...]
) -> str:
    """Relay the generator's chunks to the engine, several in one write."""
    kept: list[str] = []
    if run.claim is not None and run.engine is not None and run.claim.fence > 1:
        kept = await run.engine.chunks(run.claim.run_id, name)
    parts = list(kept)
    number, waiting, since = len(kept), list[str](), run.clock.monotonic()
    generator = fn("".join(kept), *args)
    try:
        async for chunk in generator:
            parts.append(chunk)
            waiting.append(chunk)
            if run.clock.monotonic() - since >= _FLUSH:
                await run.append(name, number, ["".join(waiting)])
                number, waiting, since = number + 1, [], run.clock.monotonic()
    except BaseException:
        if waiting and not run.reason:
            await run.append(name, number, ["".join(waiting)])
        raise
    finally:
        close = getattr(generator, "aclose", None)
        if close is not None:
            await close()
    return "".join(parts)


async def gather(*calls: Awaitable[T]) -> list[T]:
    """Await several steps at once and return their results in order.

    Unlike ``asyncio.gather``, an error waits for the other steps: what they cost is recorded before it is raised.
    Several errors are raised as an ExceptionGroup.

    Args:
        *calls: coroutines of steps.
    """
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        if tasks:
            await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup(f"{len(errors)} steps failed", errors)
    return [task.result() for task in tasks]


async def sleep(name: str, seconds: float) -> None:
    """Wait `seconds` from the first call in this run, across crashes and deploys; no worker is held for it.

    Args:
        name: unique within the run.
        seconds: the length of the wait.
    """
    check = Arguments("sleep")
    check.seconds("seconds", seconds, zero=True)
    check.done()
    run = _run("sleep")
    _check_name(name)
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
    run = _run("signal")
    _check_name(name)
    if run.claim is None or run.engine is None:
        raise RuntimeError("jobs.signal needs a worker: this job is called in place")
    run.reserve(name)
    done = True
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
            timer = f"{name}:timeout"
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


def transaction() -> AbstractAsyncContextManager[Any]:
    """Open a transaction for writes of your own that hold only while the run is this worker's.

    ``async with jobs.transaction() as tx`` yields a connection. Prefer ``step.using(write=…)``, which records the step
    in the same transaction.

    Raises:
        RunLostError: the run was cancelled or taken over.
    """
    run = _run("transaction")
    if run.claim is None or run.engine is None:
        return nullcontext(None)
    return run.engine.transaction(run.claim)


async def publish(name: str, data: Any = None) -> None:
    """Publish progress on the worker's channel, under the topic ``job:<run id>``; nothing without a channel.

    Args:
        name: the event's name, such as ``"expert.finished"``.
        data: JSON.
    """
    run = _run("publish")
    if run.channel is not None and run.claim is not None:
        await run.channel.publish(f"job:{run.claim.run_id}", name, data)


def current() -> Claim:
    """Return the run that is being executed: its id, fence, number of takes and attempts.

    Raises:
        RuntimeError: outside a worker.
    """
    claim = _run("current").claim
    if claim is None:
        raise RuntimeError("jobs.current() needs a worker: this job is called in place")
    return claim


def idempotency_key(name: str) -> str:
    """Return a key for the other side that is the same in every attempt of this run.

    Send it as ``Idempotency-Key`` with a call that must take effect once: a repeated call is then recognised.

    Args:
        name: the step that makes the call.
    """
    claim = _run("idempotency_key").claim
    return str(UUID(int=0) if claim is None else claim.run_id) + ":" + name


async def _in_thread(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    result = await asyncio.to_thread(fn, *args, **kwargs)
    return await result if inspect.isawaitable(result) else result


def _is_async(fn: Any) -> bool:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(vars(type(fn)).get("__call__"))


def _run(what: str) -> Execution:
    run = CURRENT.get()
    if run is None:
        raise RuntimeError(f"jobs.{what} is called inside a job: enqueue the job, or call it in a test")
    return run


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise ValueError(f"a step's name is a text of 1 to {_LONGEST_NAME} characters, got {name!r}")
