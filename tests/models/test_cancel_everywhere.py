"""A cancel injected at every await of a call under the whole pipeline leaves nothing behind."""

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from typing import Any

import pytest

import prodkit as pk
from prodkit.policies import RetryAfterGate, RetryBudget, constant
from prodkit.testing import virtual_time


class Interrupted:
    """Awaits `work` and cancels the running task at its `at`-th suspension, counted from 1."""

    def __init__(self, work: Coroutine[Any, Any, Any], at: int) -> None:
        self.work = work
        self.at = at
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        step, value = self.work.send, None
        while True:
            try:
                waited_for = step(value)
            except StopIteration as end:
                return end.value
            self.suspensions += 1
            if self.suspensions == self.at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                value, step = (yield waited_for), self.work.send
            except BaseException as error:
                value, step = error, self.work.throw  # type: ignore[assignment]


class Throttled(Exception):
    retry_after = 2.0


class Service:
    """Fails, throttles, hangs and answers, in this order; each after a wait."""

    def __init__(self) -> None:
        self.script = ["fail", "throttle", "hang", "answer"]
        self.cleaned = 0

    async def __call__(self) -> str:
        try:
            step = self.script.pop(0)
            await asyncio.sleep(1e9 if step == "hang" else 1)
            if step == "fail":
                raise ConnectionError
            if step == "throttle":
                raise Throttled
            return step
        finally:
            await asyncio.sleep(0.01)
            self.cleaned += 1


def live_timers() -> list[Any]:
    loop: Any = asyncio.get_running_loop()
    return [timer for timer in loop._scheduled if not timer.cancelled()]


def context() -> dict[str, Any]:
    """The kit's variables, save the one that only remembers which clock this loop has."""
    ours = {var.name: value for var, value in copy_context().items() if var.name.startswith("prodkit")}
    ours.pop("prodkit_fast_clock", None)
    return ours


async def attempt(at: int, *, half_open: bool) -> tuple[str, int]:
    budget = RetryBudget(capacity=40, floor=0)
    breaker = pk.CircuitBreaker("b", failures=9, open_for=1, probe_timeout=1e6)
    gate = RetryAfterGate("g", margin=0)
    whole = pk.Pipeline(pk.Retry(attempts=4, wait=constant(3), budget=budget), breaker, gate, pk.Timeout(5))

    async def healthy() -> None: ...

    await whole.run(healthy)
    if half_open:
        breaker.isolate()
        breaker.circuit.reset()
        breaker.circuit.hold_open(asyncio.get_running_loop().time(), 0.0, "test")
        assert breaker.state == "half_open"
    service = Service()
    before, tokens = context(), budget.balance
    work = Interrupted(whole.run(service), at)
    task = asyncio.current_task()
    assert task is not None
    with pk.Deadline.after(100):
        try:
            ended = await work
        except asyncio.CancelledError:
            ended = "cancelled"
            task.uncancel()
        except ConnectionError:
            ended = "failed"
    assert task.cancelling() == 0
    begun = 4 - len(service.script)
    assert service.cleaned == begun or ended == "cancelled"
    assert breaker.circuit._probes == {}
    assert context() == before
    assert live_timers() == []
    paid = {0: 0, 1: 0, 2: 1, 3: 1, 4: 6}  # a throttled attempt is free, one after a timeout costs five
    earned = 0.5 if ended == "answer" else 0
    assert tokens - budget.balance == paid[begun] - earned
    if breaker.state != "open":
        assert await whole.run(asyncio.sleep, 0, "next") == "next"
    return ended, work.suspensions


@pytest.mark.parametrize("half_open", [False, True])
def test_a_cancel_at_every_await_leaves_nothing_behind(half_open: bool) -> None:
    ends = []
    for at in range(1, 100):
        ended, suspensions = virtual_time(attempt(at, half_open=half_open))
        ends.append(ended)
        if suspensions < at:
            break
    assert len(ends) > 10
    assert set(ends[:-1]) == {"cancelled"}
    assert ends[-1] == "answer"
