"""Cancel a call at each of its awaits and assert that nothing is left behind.

::

    async def scenario():
        bulkhead = Bulkhead(1)

        async def settled():
            assert bulkhead.inflight == 0

        return bulkhead.run(asyncio.sleep, 1), settled

    cancel_everywhere(scenario)
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from prodkit.testing.loop import VirtualTimeLoop

__all__ = ["Scenario", "cancel_everywhere"]

Settled: TypeAlias = Callable[[], object]
Scenario: TypeAlias = Callable[[], Awaitable[tuple[Coroutine[Any, Any, Any], Settled]]]


class _SteppingLoop(VirtualTimeLoop):
    """Cancels its `victim` before its iteration `cancel_at`, and counts those that the victim lived through."""

    def __init__(self) -> None:
        super().__init__()
        self.victim: asyncio.Task[Any] | None = None
        self.cancel_at: int | None = None
        self.steps = 0

    def _run_once(self) -> None:
        if self.victim is not None and not self.victim.done():
            if self.steps == self.cancel_at:
                self.victim.cancel()
            self.steps += 1
        super()._run_once()  # type: ignore[misc]

    def timers(self) -> list[asyncio.TimerHandle]:
        return [each for each in self._scheduled if not each.cancelled()]  # type: ignore[attr-defined]


def cancel_everywhere(scenario: Scenario, *, most: int = 2000) -> int:
    """Run a call to its end, then repeat it, cancelled one iteration of the loop later each time.

    After each run no task and no timer may be left. Returns the number of runs.

    Args:
        scenario: awaited on a new loop of virtual time for each run; returns the call, as a coroutine, and a function
            (plain or async) that is called when the call has ended and asserts that everything is as it was.
        most: the highest number of loop iterations that the call may take; 2,000 by default.

    Raises:
        ValueError: the call takes more iterations than `most`.
        AssertionError: with a note that says at which step the call was cancelled.
    """
    steps = _run(scenario, None)
    if steps > most:
        raise ValueError(f"the call takes {steps} iterations of the loop, more than most={most}")
    for step in range(steps):
        try:
            _run(scenario, step)
        except BaseException as error:
            error.add_note(f"cancelled at step {step} of {steps}")
            raise
    return steps + 1


def _run(scenario: Scenario, cancel_at: int | None) -> int:
    loop = _SteppingLoop()
    loop.cancel_at = cancel_at

    async def whole() -> None:
        call, settled = await scenario()
        loop.victim = victim = asyncio.ensure_future(call)
        await asyncio.wait((victim,))
        if cancel_at is None:
            victim.result()
        else:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                victim.result()
        outcome = settled()
        if inspect.isawaitable(outcome):
            await outcome
        for _ in range(3):
            await asyncio.sleep(0)  # what was cancelled just now ends
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks are left: {left}"
        timers = loop.timers()
        assert not timers, f"timers are left: {timers}"

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(whole())
    return loop.steps
