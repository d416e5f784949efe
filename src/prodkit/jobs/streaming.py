"""A step whose text is recorded while it arrives."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from prodkit.jobs.codec import encode
from prodkit.jobs.context import check_name, run_of
from prodkit.jobs.execution import Execution
from prodkit.jobs.fingerprint import fingerprint
from prodkit.jobs.steps import step
from prodkit.jobs.values import Recorded

__all__ = ["stream"]

_FLUSH: Final = 0.2
"""Seconds between two writes of a text that arrives."""


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
    run = run_of("stream")
    check_name(name)
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
