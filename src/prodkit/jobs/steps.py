"""The recorded call: :data:`step`."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, Protocol, TypeVar, overload

from prodkit.core.validate import Arguments
from prodkit.errors import InvalidError, RejectedError
from prodkit.jobs.codec import decode, digest, encode, returned
from prodkit.jobs.context import check_name, run_of
from prodkit.jobs.errors import StepChangedError, StepUnknownError
from prodkit.jobs.events import StepFailed, StepFinished
from prodkit.jobs.execution import Execution
from prodkit.jobs.fingerprint import fingerprint
from prodkit.jobs.values import Recorded, Write

__all__ = ["Step", "step"]

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
        run = run_of("step")
        check_name(name)
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
        except SystemExit as error:  # it would end the event loop, and the other runs of this worker with it
            raise RuntimeError(f"the step {name!r} called sys.exit({error.code!r})") from error
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


async def _in_thread(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    result = await asyncio.to_thread(fn, *args, **kwargs)
    return await result if inspect.isawaitable(result) else result


def _is_async(fn: Any) -> bool:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(vars(type(fn)).get("__call__"))
