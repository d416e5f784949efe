"""The protocol as a breaker uses it; implementations are tested by the suite in prodkit.testing.contracts."""

import asyncio
from collections.abc import Callable

import pytest

import prodkit as pk
from prodkit.policies.shared_state import SharedState
from prodkit.testing import virtual_time


class Recorder:
    """Keeps the calls of a breaker, and grants probes on request."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.grant: float | None = None
        self.tell_opened: Callable[[float], None]
        self.tell_closed: Callable[[], None]

    def listen(self, breaker: str, opened: Callable[[float], None], closed: Callable[[], None]) -> None:
        self.calls.append(("listen", breaker))
        self.tell_opened, self.tell_closed = opened, closed

    def opened(self, breaker: str, seconds: float) -> None:
        self.calls.append(("opened", breaker, seconds))

    def closed(self, breaker: str) -> None:
        self.calls.append(("closed", breaker))

    async def claim(self, breaker: str, seconds: float) -> float | None:
        self.calls.append(("claim", breaker))
        return self.grant


def breaker(shared: SharedState) -> pk.CircuitBreaker:
    return pk.CircuitBreaker("bank", failures=1, open_for=10, open_jitter=0, shared=shared)


async def fail() -> None:
    raise OSError


async def answer() -> str:
    return "answer"


@virtual_time
async def test_a_closed_circuit_asks_nobody() -> None:
    shared = Recorder()
    bank = breaker(shared)
    assert await bank.run(answer) == "answer"
    assert shared.calls == [("listen", "bank")]


@virtual_time
async def test_opening_and_recovery_are_shared() -> None:
    shared = Recorder()
    bank = breaker(shared)
    with pytest.raises(OSError):
        await bank.run(fail)
    assert shared.calls[1:] == [("opened", "bank", 10)]
    await asyncio.sleep(10)
    assert await bank.run(answer) == "answer"
    assert shared.calls[2:] == [("claim", "bank"), ("closed", "bank")]


@virtual_time
async def test_another_process_opens_and_closes_the_circuit_here() -> None:
    shared = Recorder()
    bank = breaker(shared)
    shared.tell_opened(30)
    with pytest.raises(pk.CircuitOpenError) as refused:
        await bank.run(answer)
    assert refused.value.retry_after == 30
    shared.tell_closed()
    assert await bank.run(answer) == "answer"
    assert len(shared.calls) == 1  # what was received is not sent back


@virtual_time
async def test_a_probe_that_another_process_makes_is_refused_here() -> None:
    shared = Recorder()
    shared.grant = 4.0
    bank = breaker(shared)
    shared.tell_opened(1)
    await asyncio.sleep(1)
    with pytest.raises(pk.CircuitOpenError) as refused:
        await bank.run(answer)
    assert refused.value.retry_after == 4
    shared.grant = None
    await asyncio.sleep(4)
    assert await bank.run(answer) == "answer"
