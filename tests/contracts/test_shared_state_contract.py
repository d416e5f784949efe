"""The contract on the smallest SharedState there can be: a dictionary."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import prodkit as pk
from prodkit.policies import SharedState
from prodkit.testing import virtual_time
from prodkit.testing.contracts import SharedStateContract


class Store:
    def __init__(self) -> None:
        self.until: dict[str, float] = {}
        self.leases: dict[str, tuple[object, float]] = {}
        self.processes: list[Memory] = []


class Memory:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.heard: list[tuple[str, Callable[[float], None], Callable[[], None]]] = []
        store.processes.append(self)

    def listen(self, breaker: str, opened: Callable[[float], None], closed: Callable[[], None]) -> None:
        self.heard.append((breaker, opened, closed))

    def opened(self, breaker: str, seconds: float) -> None:
        self.store.until[breaker] = asyncio.get_running_loop().time() + seconds
        self.store.leases.pop(breaker, None)
        self._tell(breaker, lambda opened, closed: opened(seconds))

    def closed(self, breaker: str) -> None:
        self.store.until.pop(breaker, None)
        self.store.leases.pop(breaker, None)
        self._tell(breaker, lambda opened, closed: closed())

    async def claim(self, breaker: str, seconds: float) -> float | None:
        now = asyncio.get_running_loop().time()
        if (left := self.store.until.get(breaker, now) - now) > 0:
            return left
        holder, until = self.store.leases.get(breaker, (self, now))
        if holder is not self and until > now:
            return until - now
        self.store.leases[breaker] = self, now + seconds
        return None

    def _tell(self, breaker: str, news: Callable[[Any, Any], None]) -> None:
        for process in self.store.processes:
            for name, opened, closed in process.heard:
                if process is not self and name == breaker:
                    asyncio.get_running_loop().call_soon(news, opened, closed)


class Contract(SharedStateContract):
    @asynccontextmanager
    async def two_processes(self) -> AsyncIterator[tuple[SharedState, SharedState]]:
        store = Store()
        yield Memory(store), Memory(store)


TESTS = [name for name in dir(SharedStateContract) if name.startswith("test_")]


@pytest.mark.parametrize("name", TESTS)
def test_contract(name: str) -> None:
    test: Callable[[], Coroutine[Any, Any, None]] = getattr(Contract(), name)
    virtual_time(test())


@virtual_time
async def test_twenty_processes_send_one_probe() -> None:
    store, reached, failing = Store(), 0, True

    async def dependency() -> str:
        nonlocal reached
        reached += 1
        await asyncio.sleep(0.1)
        if failing:
            raise ConnectionError
        return "answer"

    breakers = [pk.CircuitBreaker("b", failures=2, open_for=10, shared=Memory(store)) for _ in range(20)]
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await breakers[0].run(dependency)
    await asyncio.sleep(0)
    assert {breaker.state for breaker in breakers} == {"open"}
    await asyncio.sleep(10)
    failing, reached = False, 0
    results = await asyncio.gather(*(each.run(dependency) for each in breakers), return_exceptions=True)
    assert reached == 1
    assert results.count("answer") == 1
    await asyncio.sleep(0)
    assert {breaker.state for breaker in breakers} == {"closed"}
    assert await asyncio.gather(*(each.run(dependency) for each in breakers)) == ["answer"] * 20
