import asyncio
import gc
from typing import Any

import pytest

from prodkit import (
    CallTimeoutError,
    CircuitBreaker,
    Deadline,
    DeadlineExceededError,
    Pipeline,
    Runtime,
    Timeout,
)
from prodkit.policies.events import HedgeStarted, HedgeWon
from prodkit.policies.hedge import Hedge
from prodkit.testing import virtual_time


class Slow:
    """Answers after the next of its times; None never does. Says what became of each try."""

    def __init__(self, *times: float | Exception | None, cleanup: float = 0.0) -> None:
        self.times, self.cleanup = list(times), cleanup
        self.ended: list[str] = []

    async def __call__(self) -> int:
        number = len(self.ended)
        self.ended.append("running")
        time = self.times[number]
        try:
            if isinstance(time, Exception):
                await asyncio.sleep(0.2)
                raise type(time)(*time.args)
            await (asyncio.Event().wait() if time is None else asyncio.sleep(time))
        except asyncio.CancelledError:
            await asyncio.sleep(self.cleanup)
            self.ended[number] = "cancelled"
            raise
        self.ended[number] = "answered"
        return number


class Purse:
    def __init__(self, units: int) -> None:
        self.units = units

    def withdraw(self, error: BaseException | None) -> bool:
        assert error is None
        self.units -= 1
        return self.units >= 0


@virtual_time
async def test_a_quick_answer_is_not_hedged() -> None:
    slow = Slow(0.05)
    assert await Hedge(0.1).run(slow) == 0
    assert slow.ended == ["answered"]


@virtual_time
async def test_the_winner_is_returned_at_once_and_the_loser_awaited_at_the_end() -> None:
    time, slow, hedge = asyncio.get_running_loop().time, Slow(None, 0.05, cleanup=5.0), Hedge(0.1)
    assert await hedge.run(slow) == 1
    assert time() == pytest.approx(0.15)
    assert slow.ended == ["running", "answered"]
    await hedge.aclose()
    assert slow.ended == ["cancelled", "answered"]


@virtual_time
async def test_a_budget_that_is_empty_starts_nothing() -> None:
    hedge = Hedge(0.1, budget=Purse(1))
    assert await hedge.run(Slow(1.0, 0.1)) == 1
    slow = Slow(1.0, 0.1)
    assert await hedge.run(slow) == 0
    assert slow.ended == ["answered"]


@virtual_time
async def test_a_failed_try_is_forgotten_while_another_runs() -> None:
    assert await Hedge(0.1).run(Slow(ConnectionError("a"), 0.5)) == 1


class Refused(ConnectionError):
    """Of this test alone, so that no other test's errors are found."""


@virtual_time
async def test_when_all_fail_the_first_error_is_raised_and_no_cycle_left() -> None:
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ConnectionError, match="first"):
            await Hedge(0.1).run(Slow(Refused("first"), Refused("second")))
        assert not [each for each in gc.get_objects() if isinstance(each, Refused)]
    finally:
        gc.enable()


@virtual_time
async def test_an_early_error_is_not_hedged() -> None:
    slow = Slow(ValueError("bad"))
    with pytest.raises(ValueError, match="bad"):
        await Hedge(0.5).run(slow)
    assert len(slow.ended) == 1


@virtual_time
async def test_cancelling_the_caller_cancels_and_awaits_all_tries() -> None:
    slow = Slow(None, None, cleanup=0.5)
    task = asyncio.create_task(Hedge(0.1).run(slow))
    await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert slow.ended == ["cancelled", "cancelled"]


@virtual_time
async def test_the_delay_is_learned_as_a_quantile() -> None:
    hedge = Hedge(quantile=0.9)
    assert hedge.delay() is None
    for n in range(40):
        await hedge.run(Slow(0.01 * (n % 10 + 1)))
    assert hedge.delay() == pytest.approx(0.1)
    slow = Slow(None, 0.01)
    assert await hedge.run(slow) == 1
    await hedge.aclose()


def test_nonsense_is_refused_together() -> None:
    with pytest.raises(ValueError, match=r"after.*0.*quantile.*2.*extra.*0"):
        Hedge(0, quantile=2, extra=0)


@virtual_time
async def test_the_deadline_ends_all_tries() -> None:
    slow = Slow(None, None)
    with Deadline.after(1), pytest.raises(DeadlineExceededError):
        await Hedge(0.1).run(slow)
    assert asyncio.get_running_loop().time() == 1
    assert slow.ended == ["cancelled", "cancelled"]


@virtual_time
async def test_a_timer_outside_counts_against_a_breaker_inside() -> None:
    """A cancel that a prodkit timer sent is a failure of the dependency, also when it comes through the tries."""
    breaker = CircuitBreaker("x", failures=1, open_for=9)
    pipeline = Pipeline(Timeout(1), Hedge(0.1), breaker)
    with pytest.raises(CallTimeoutError):
        await pipeline.run(asyncio.sleep, 50)
    assert breaker.state == "open"


@virtual_time
async def test_events_and_options() -> None:
    runtime, seen = Runtime(), []
    runtime.events.subscribe(seen.append)
    hedge = Hedge(0.1, extra=2, runtime=runtime)
    assert await hedge.run(Slow(None, None, 0.05)) == 2
    await hedge.aclose()
    assert seen == [
        HedgeStarted(after=0.1, number=2),
        HedgeStarted(after=0.1, number=3),
        HedgeWon(number=3),
    ]
    assert repr(hedge) == "Hedge(after=0.1, extra=2, budget=None)"
    assert repr(Hedge()) == "Hedge(quantile=0.95, extra=1, budget=None)"


@virtual_time
async def test_a_listener_or_budget_that_raises_leaves_no_try_behind() -> None:
    class Broken:
        def withdraw(self, error: BaseException | None) -> bool:
            raise LookupError("no such account")

    slow = Slow(None)
    hedge = Hedge(0.1, budget=Broken())
    with pytest.raises(LookupError):
        await hedge.run(slow)
    await hedge.aclose()
    assert slow.ended == ["cancelled"]


@virtual_time
async def test_a_second_cancel_does_not_lose_the_tries() -> None:
    slow, hedge = Slow(None, None, cleanup=5), Hedge(0.1)
    task = asyncio.create_task(hedge.run(slow))
    await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.sleep(1)
    task.cancel()  # impatient: the caller goes, the tries are still awaited at the end
    await asyncio.wait([task])
    assert task.cancelled()
    await hedge.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("budget", [3, "x", object()])
def test_a_budget_that_is_none_is_refused(budget: Any) -> None:
    with pytest.raises(ValueError, match="budget must be a RetryBudget"):
        Hedge(1, budget=budget)
