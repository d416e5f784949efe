"""The ledger in memory: budgets a caller and a day, reports."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from prodkit import BudgetExceededError, llm

PRICES = {"claude-sonnet-5-5": llm.Price(3, 15), "claude-haiku-5-5": llm.Price(1, 5)}
ASK: dict[str, Any] = {"max_tokens": 100, "messages": [{"role": "user", "content": "oi"}]}


def _attempt(cost: float, model: str = "m") -> llm.Attempt:
    return llm.Attempt(number=1, model=model, outcome="ok", usage=llm.Usage(10, 5), cost=cost)


async def test_a_budget_is_kept_for_each_caller() -> None:
    ledger = llm.Ledger(daily={"tenant:*": 1.0, "tenant:big": 10.0})
    held = await ledger.reserve("tenant:a", 0.7)
    with pytest.raises(BudgetExceededError, match=r"tenant:a.*not sent"):
        await ledger.reserve("tenant:a", 0.7)
    await ledger.reserve("tenant:b", 0.7)
    await ledger.reserve("tenant:big", 7)
    await ledger.reserve("user:free", 1000)
    ledger.settle(held, "tenant:a", _attempt(0.1))
    assert await ledger.spent("tenant:a") == pytest.approx(0.1)
    await ledger.reserve("tenant:a", 0.7)


async def test_the_longest_name_counts() -> None:
    ledger = llm.Ledger(daily={"*": 1.0, "tenant:*": 2.0, "tenant:[x]": 3.0})
    assert [ledger.limit_of(name) for name in ("u", "tenant:1", "tenant:[x]")] == [1.0, 2.0, 3.0]
    assert llm.Ledger().limit_of("u") is None


async def test_a_report_by_model_and_caller() -> None:
    ledger = llm.Ledger()
    for caller, model, cost in (("a", "m", 1.0), ("a", "m", 2.0), ("a", "n", 5.0), ("b", "m", 0.5)):
        ledger.settle(None, caller, _attempt(cost, model))
    rows = await ledger.report()
    assert [(row.caller, row.model, row.requests, row.cost) for row in rows] == [
        ("a", "n", 1, 5.0), ("a", "m", 2, 3.0), ("b", "m", 1, 0.5),
    ]  # fmt: skip
    assert rows[1].usage == llm.Usage(20, 10)
    assert [(row.caller, row.cost) for row in await ledger.report(by=("caller",))] == [("a", 8.0), ("b", 0.5)]
    assert [row.cost for row in await ledger.report(by=())] == [8.5]


async def test_the_budget_begins_again_with_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = llm.Ledger(daily={"*": 1.0})
    held = await ledger.reserve("u", 0.9)
    ledger.settle(held, "u", _attempt(0.9))
    monkeypatch.setattr(ledger, "_today", lambda: datetime(2099, 1, 1, tzinfo=UTC).date())
    assert await ledger.reserve("u", 0.9)


def test_a_client_accounts_to_the_caller(faked: Any) -> None:
    ledger = llm.Ledger(daily={"poor": 0.0001})
    client, wire = faked(529, prices=PRICES, ledger=ledger, backoff=0.001)

    async def run() -> None:
        answer = await client.create(caller="ana", **ASK)
        await client.create(caller="rui", **ASK)
        assert await ledger.spent("ana") == pytest.approx(answer.cost)
        with pytest.raises(BudgetExceededError):
            await client.create(caller="poor", **ASK)
        assert [(row.caller, row.requests) for row in await ledger.report(by=("caller",))] == [
            ("ana", 2),
            ("rui", 1),
        ]
        assert client._engine.slots.inflight == 0

    asyncio.run(run())
    assert len(wire.sent) == 3


def test_budgets_need_prices() -> None:
    with pytest.raises(ValueError, match="price of every model"):
        llm.Client("k", ledger=llm.Ledger(daily={"*": 1.0}))


@pytest.mark.parametrize("wrong", [{"daily": {"a": 0}}, {"daily": {"a": "5"}}, {"expiry": -1}])
def test_wrong_options(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        llm.Ledger(**wrong)
