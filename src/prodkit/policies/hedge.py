"""Hedge: a second try when the first is slow, paid from the budget that pays for retries."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol

from prodkit.core.events import Event
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.policies.base import AsyncFn, Policy
from prodkit.policies.deadline_guard import bounded, until_deadline
from prodkit.policies.events import HedgeStarted, HedgeWon

__all__ = ["Hedge"]

_REMEMBERED = 128  # latencies behind the quantile
_NEEDED = 20  # fewer say nothing about a tail


class Budget(Protocol):
    """What pays for a further try; :class:`prodkit.policies.RetryBudget` is one."""

    def withdraw(self, error: BaseException | None) -> bool:
        """Pays for one more try (None: nothing failed, it is only slow); False when there is not enough."""
        ...


class Hedge(Policy):
    """Starts the call again when it has not answered after `after` seconds; the first answer wins.

    Without `after` the delay is the `quantile` of the last 128 latencies, and nothing is hedged before 20 are known.
    At most `extra` further tries run, each paid from `budget` where one is given: a dependency that is
    slow for everybody is then not asked twice by everybody. The winner is returned at once; losers are cancelled in
    the background and awaited by :meth:`aclose`. A try that fails while another still runs is forgotten; when all
    fail, the first error is raised. Cancelling the caller cancels all tries and waits for them.

    For calls that may run twice only. Async only.
    """

    rank = 30

    def __init__(
        self,
        after: float | None = None,
        *,
        quantile: float = 0.95,
        extra: int = 1,
        budget: Budget | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        problems = [
            text
            for wrong, text in (
                (after is not None and not after > 0, f"after must be positive, got {after!r}"),
                (not 0.5 <= quantile < 1, f"quantile must be in [0.5, 1), got {quantile!r}"),
                (extra < 1, f"extra must be at least 1, got {extra!r}"),
            )
            if wrong
        ]
        if problems:
            raise ValueError("; ".join(problems))
        self.after = after
        self.quantile = quantile
        self.extra = extra
        self.budget = budget
        self.runtime = runtime
        self._latencies: deque[float] = deque(maxlen=_REMEMBERED)
        self._losers: set[asyncio.Task[Any]] = set()

    def delay(self) -> float | None:
        """Seconds after which a call would be hedged now; None while too little is known."""
        if self.after is not None:
            return self.after
        if len(self._latencies) < _NEEDED:
            return None
        ordered = sorted(self._latencies)
        return ordered[min(len(ordered) - 1, int(self.quantile * len(ordered)))]

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        if not getattr(fn, "_prodkit_bounded", False):
            fn = until_deadline(fn)

        async def hedge(*args: Any, **kwargs: Any) -> Any:
            time = asyncio.get_running_loop().time
            began = time()
            delay = self.delay()
            if delay is None:
                result = await fn(*args, **kwargs)
            else:
                result = await self._race(fn, args, kwargs, delay)
            self._latencies.append(time() - began)
            return result

        return bounded(hedge)

    async def _race(self, fn: AsyncFn, args: Any, kwargs: Any, delay: float) -> Any:
        async def attempt() -> Any:
            return await fn(*args, **kwargs)

        tries = [asyncio.create_task(attempt())]  # in order of their start
        may_start = self.extra
        try:
            while True:
                running = [each for each in tries if not each.done()]
                if not running:
                    return tries[0].result()  # all failed: the first one's error
                done, _ = await asyncio.wait(
                    running, timeout=delay if may_start else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if not task.cancelled() and task.exception() is None:
                        return self._won(task, 1 + tries.index(task))
                if not done:
                    may_start -= 1
                    if self.budget is None or self.budget.withdraw(None):
                        tries.append(asyncio.create_task(attempt()))
                        self._tell(HedgeStarted(after=delay, number=len(tries)))
                    else:
                        may_start = 0
        except asyncio.CancelledError as cancelled:
            await self._cancel(tries, *cancelled.args[:1])
            raise
        finally:
            self._abandon(tries)
            tries.clear()  # a failed try's traceback holds this frame: no cycle is left behind

    def _won(self, task: asyncio.Task[Any], number: int) -> Any:
        if number > 1:
            self._tell(HedgeWon(number=number))
        return task.result()

    @staticmethod
    async def _cancel(tries: list[asyncio.Task[Any]], message: Any = None) -> None:
        """Cancels with the caller's own message: by it policies further in know a timer of ours."""
        for task in tries:
            task.cancel(message)
        await asyncio.wait(tries)

    def _abandon(self, tries: list[asyncio.Task[Any]]) -> None:
        for task in tries:
            if task.done():
                _retrieve(task)
            else:
                task.cancel()
                self._losers.add(task)
                task.add_done_callback(self._lost)

    def _lost(self, task: asyncio.Task[Any]) -> None:
        self._losers.discard(task)
        _retrieve(task)

    async def aclose(self) -> None:
        """Waits until every loser has cleaned up."""
        while self._losers:
            await asyncio.wait(tuple(self._losers))

    def _tell(self, event: Event) -> None:
        if self.runtime.events.listened(type(event)):
            self.runtime.events.emit(event)

    def __repr__(self) -> str:
        delay = f"after={self.after}" if self.after is not None else f"quantile={self.quantile}"
        return f"Hedge({delay}, extra={self.extra}, budget={self.budget!r})"


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Looks at the outcome of a try nobody waits for any more, so that asyncio does not report it as forgotten."""
    if not task.cancelled():
        task.exception()
