"""The ledger in PostgreSQL: one budget for all processes, exactly."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from prodkit import BudgetExceededError, Runtime, llm, postgres
from prodkit.testing.servers import Postgres

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as running:
        yield running


@pytest.fixture
async def pools(server: Postgres) -> AsyncIterator[list[Any]]:
    made = [postgres.Pool(server.url, min_size=1, max_size=5, runtime=Runtime()) for _ in range(2)]
    for pool in made:
        await pool.start()
    try:
        await made[0].execute("DROP TABLE IF EXISTS llm_ledger, llm_ledger_reserved")
        await llm.Ledger(made[0]).create_tables()
        yield made
    finally:
        for pool in made:
            await pool.aclose()


def _attempt(cost: float) -> llm.Attempt:
    return llm.Attempt(number=1, model="m", outcome="ok", usage=llm.Usage(10, 5), cost=cost)


async def test_two_processes_never_exceed_one_budget(pools: list[Any]) -> None:
    ledgers = [llm.Ledger(pool, daily={"tenant": 1.0}) for pool in pools]
    granted = 0

    async def one(ledger: llm.Ledger) -> None:
        nonlocal granted
        try:
            held = await ledger.reserve("tenant", 0.1)
        except BudgetExceededError:
            return
        granted += 1
        await asyncio.sleep(0.01)
        ledger.settle(held, "tenant", _attempt(0.1))

    await asyncio.gather(*(one(ledgers[number % 2]) for number in range(60)))
    for ledger in ledgers:
        await ledger.flush()
    assert granted == 10
    assert await ledgers[0].spent("tenant") == pytest.approx(1.0)
    rows = await ledgers[1].report()
    assert [(row.caller, row.model, row.requests) for row in rows] == [("tenant", "m", 10)]
    assert rows[0].usage == llm.Usage(100, 50)


async def test_the_reservation_of_a_killed_process_expires(pools: list[Any]) -> None:
    killed = llm.Ledger(pools[0], daily={"u": 1.0}, expiry=0.3)
    await killed.reserve("u", 0.9)
    other = llm.Ledger(pools[1], daily={"u": 1.0})
    with pytest.raises(BudgetExceededError):
        await other.reserve("u", 0.5)
    await asyncio.sleep(0.4)
    assert await other.reserve("u", 0.5)


class _Flaky:
    """A pool that is away for its first `failures` statements, half of them after they were executed."""

    def __init__(self, pool: Any, failures: int) -> None:
        self.pool, self.failures = pool, failures

    async def execute(self, query: str, *args: Any) -> Any:
        if self.failures:
            self.failures -= 1
            if self.failures % 2:
                await self.pool.execute(query, *args)
            raise ConnectionError("away")
        return await self.pool.execute(query, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)


async def test_costs_wait_for_a_database_that_is_away_and_are_written_once(pools: list[Any]) -> None:
    runtime = Runtime()
    delays: list[llm.LlmLedgerDelayed] = []
    runtime.events.subscribe(delays.append, llm.LlmLedgerDelayed)
    ledger = llm.Ledger(_Flaky(pools[0], 2), runtime=runtime)
    for _ in range(5):
        ledger.settle(await ledger.reserve("u", 1.0), "u", _attempt(0.5))
    assert await ledger.reserve("free", 100.0)
    async with asyncio.timeout(10):
        while (await ledger.check()).details["unwritten"]:
            await asyncio.sleep(0.02)
    assert [row.requests for row in await ledger.report()] == [5]
    assert await ledger.spent("u") == pytest.approx(2.5)
    assert [(each.rows, each.error_type) for each in delays] == [(5, "ConnectionError")]


async def test_closing_writes_what_is_left(pools: list[Any]) -> None:
    async with llm.Ledger(pools[0]) as ledger:
        ledger.settle(None, "u", _attempt(0.5))
    assert (await ledger.check()).details["unwritten"] == 0
    assert [row.cost for row in await llm.Ledger(pools[1]).report()] == [0.5]
