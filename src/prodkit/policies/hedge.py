"""Hedge: start a second attempt when the first is slow, paid from the budget that pays for retries."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, Protocol

from prodkit.core.events import Event
from prodkit.core.outcome import Classifier, Outcome
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.policies.base import AsyncFn, Policy
from prodkit.policies.classify import classifier
from prodkit.policies.deadline_guard import bounded, enforces_deadline, until_deadline
from prodkit.policies.events import HedgeStarted, HedgeWon
from prodkit.policies.idempotency import is_non_idempotent
from prodkit.policies.switch import is_off

__all__ = ["Hedge"]

_REMEMBERED: Final = 128  # latencies behind the quantile
_NEEDED: Final = 20  # fewer say nothing about a tail


class HedgeBudget(Protocol):
    """The account that pays for a further attempt; :class:`prodkit.policies.RetryBudget` is one."""

    def withdraw(self, error: BaseException | None) -> bool:
        """Pay for one more attempt (None: nothing failed yet); return False if the tokens do not suffice."""
        ...


class Hedge(Policy):
    """Start the call again when it has not answered after `after` seconds; the first answer wins.

    The winner is returned at once; losers are cancelled in the background and awaited by :meth:`aclose`. An attempt
    that fails while another still runs is forgotten; when all fail, the first error is raised. After a throttled
    attempt no further one is started. Cancelling the caller cancels all attempts and waits for them.

    A function marked :func:`~prodkit.policies.non_idempotent` is called once, however slow it is. Async only.

    Args:
        after: seconds without an answer after which a further attempt starts; None takes the `quantile` of the last
            128 latencies, and hedges nothing before 20 are known.
        quantile: share of the latencies that are not hedged, from 0.5 up to below 1; lower it for shorter tails at
            the price of more load.
        extra: further attempts of one call at most.
        budget: pays for further attempts, so that a dependency that is slow for every caller is not asked twice by
            every caller; None hedges without a limit.
        idempotent: False switches hedging off, for a policy that is shared with calls that may not run twice.
        classify: decides which errors are `throttled`; None from it leaves the decision to the defaults.
        runtime: events.
    """

    rank = 30

    after: float | None
    quantile: float
    extra: int
    budget: HedgeBudget | None
    runtime: Runtime

    def __init__(
        self,
        after: float | None = None,
        *,
        quantile: float = 0.95,
        extra: int = 1,
        budget: HedgeBudget | None = None,
        idempotent: bool = True,
        classify: Classifier | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("Hedge")
        check.seconds("after", after, optional=True)
        check.number("quantile", quantile, minimum=0.5, below=1)
        check.integer("extra", extra, minimum=1)
        check.instance("idempotent", idempotent, bool, "True or False")
        check.that(
            budget is None or callable(getattr(budget, "withdraw", None)),
            f"budget must be a RetryBudget, or have its withdraw(), got {budget!r}",
        )
        check.function("classify", classify, optional=True)
        check.instance("runtime", runtime, Runtime, "a Runtime")
        check.done()
        self.after = after
        self.quantile = quantile
        self.extra = extra
        self.budget = budget
        self.runtime = runtime
        self._idempotent = idempotent
        self._classify = classifier(classify)
        self._latencies: deque[float] = deque(maxlen=_REMEMBERED)
        self._losers: set[asyncio.Task[Any]] = set()

    def delay(self) -> float | None:
        """Return the seconds after which a call would be hedged now; None while too little is known."""
        if self.after is not None:
            return self.after
        if len(self._latencies) < _NEEDED:
            return None
        ordered = sorted(self._latencies)
        return ordered[min(len(ordered) - 1, int(self.quantile * len(ordered)))]

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""
        if not enforces_deadline(fn):
            fn = until_deadline(fn)
        allowed = self._idempotent

        async def hedge(*args: Any, **kwargs: Any) -> Any:
            time = asyncio.get_running_loop().time
            began = time()
            delay = self.delay()
            if delay is None or not allowed or is_off(self.runtime) or is_non_idempotent(fn, args):
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
                    return tries[0].result()  # all failed: the error of the first
                done, _ = await asyncio.wait(
                    running, timeout=delay if may_start else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    error = None if task.cancelled() else task.exception()
                    if not task.cancelled() and error is None:
                        return self._won(task, 1 + tries.index(task))
                    if error is not None and self._classify(error) is Outcome.THROTTLED:
                        may_start = 0
                if not done:
                    may_start -= 1
                    if self.budget is None or self.budget.withdraw(None):
                        tries.append(asyncio.create_task(attempt()))
                        self._emit(HedgeStarted(after=delay, number=len(tries)))
                    else:
                        may_start = 0
        except asyncio.CancelledError as cancelled:
            await self._cancel(tries, *cancelled.args[:1])
            raise
        finally:
            self._abandon(tries)
            tries.clear()  # a failed attempt's traceback holds this frame: no cycle is left behind

    def _won(self, task: asyncio.Task[Any], number: int) -> Any:
        if number > 1:
            self._emit(HedgeWon(number=number))
        return task.result()

    @staticmethod
    async def _cancel(tries: list[asyncio.Task[Any]], message: Any = None) -> None:
        """Cancel with the caller's own message, by which policies further in recognise a prodkit timer."""
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
        """Wait until every loser has cleaned up."""
        while self._losers:
            await asyncio.wait(tuple(self._losers))

    def _emit(self, event: Event) -> None:
        if self.runtime.events.listened(type(event)):
            self.runtime.events.emit(event)

    def __repr__(self) -> str:
        delay = f"after={self.after}" if self.after is not None else f"quantile={self.quantile}"
        return f"Hedge({delay}, extra={self.extra}, budget={self.budget!r})"


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Read the outcome of an abandoned attempt, so that asyncio does not report it as never retrieved."""
    if not task.cancelled():
        task.exception()
