import asyncio
from datetime import timedelta

import pytest

import prodkit as pk
from prodkit.policies import non_idempotent
from prodkit.testing import virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


class Failing:
    """Fails `times`, then answers."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.times = times
        self.error = error or OSError("away")
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "answer"


async def gave_up(retry: pk.Retry, fn: Failing) -> list[str]:
    with pytest.raises(type(fn.error)) as last:
        await retry.run(fn)
    assert last.value is fn.error
    return list(getattr(last.value, "__notes__", []))


@virtual_time
async def test_the_note_names_attempts_time_and_the_reason_to_stop() -> None:
    assert await gave_up(pk.Retry(attempts=3, on=OSError, wait=2), Failing(9)) == [
        "gave up after 3 attempts, 4.0 s after the first failed"
    ]
    with pk.Deadline.after(5):
        notes = await gave_up(pk.Retry(attempts=9, on=OSError, wait=2), Failing(9))
    assert notes == ["gave up after 3 attempts, 4.0 s after the first failed (deadline)"]
    broke = pk.RetryBudget(floor=0, capacity=1e-9)
    assert await gave_up(pk.Retry(attempts=3, on=OSError, wait=2, budget=broke), Failing(9)) == [
        "gave up after 1 attempt (budget)"
    ]
    assert await gave_up(pk.Retry(attempts=3, on=OSError), Failing(9, KeyError("mine"))) == []


@virtual_time
async def test_an_error_that_asks_for_a_longer_wait_gets_it_up_to_the_limit() -> None:
    error = OSError("busy")
    error.retry_after = 7.0  # type: ignore[attr-defined]
    assert await pk.Retry(attempts=2, on=OSError, wait=1).run(Failing(1, error)) == "answer"
    assert now() == 7
    notes = await gave_up(pk.Retry(attempts=2, on=OSError, wait=1, max_wait=5), Failing(9, error))
    assert notes == ["gave up after 1 attempt (retry_after beyond max_wait)"]
    assert now() == 7


@virtual_time
async def test_the_rule_may_name_the_wait_itself() -> None:
    for wait, seconds in ((3, 3.0), (timedelta(seconds=0), 0.0), (timedelta(minutes=1), 60.0)):
        before = now()
        assert (
            await pk.Retry(attempts=2, on=lambda error, wait=wait: wait, wait=1).run(Failing(1)) == "answer"
        )
        assert now() - before == seconds


@virtual_time
async def test_of_nested_retries_only_the_outer_one_repeats() -> None:
    fn = Failing(99)
    inner = pk.Retry(attempts=5, on=OSError, wait=1)(fn)

    with pytest.raises(OSError, match="away"):
        await pk.Retry(attempts=2, on=OSError, wait=1).run(inner)
    assert fn.calls == 2


@virtual_time
async def test_a_call_that_must_not_run_twice_is_repeated_only_if_it_was_never_sent() -> None:
    retry = pk.Retry(attempts=3, on=Exception, wait=0)
    for error, calls in ((OSError("away"), 1), (ConnectionRefusedError(), 3)):
        fn = Failing(99, error)
        with pytest.raises(OSError):
            await retry.run(non_idempotent(fn))
        assert fn.calls == calls


@virtual_time
async def test_a_cancelled_wait_gives_the_price_of_the_attempt_back() -> None:
    budget = pk.RetryBudget(floor=0)
    before = budget.balance
    task = asyncio.ensure_future(pk.Retry(attempts=3, on=OSError, wait=9, budget=budget).run(Failing(9)))
    await asyncio.sleep(1)
    assert budget.balance < before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert budget.balance == before
