import asyncio
import math

import pytest

from prodkit import CallTimeoutError, Health, Pipeline, RateLimitedError, Retry
from prodkit.policies import Prices, RetryBudget
from prodkit.policies.budget import Tokens
from prodkit.testing import virtual_time


def drained(**options: float) -> RetryBudget:
    budget = RetryBudget(**{"floor": 0.0, **options})
    while budget.withdraw(ValueError()):
        pass
    return budget


def test_it_starts_half_full_and_every_retry_costs() -> None:
    budget = RetryBudget(capacity=6, floor=0)
    assert budget.balance == 3
    assert [budget.withdraw(ValueError()) for _ in range(4)] == [True, True, True, False]
    assert budget.balance == 0


def test_successes_earn_the_ratio_up_to_the_capacity() -> None:
    budget = drained(ratio=0.5, capacity=4)
    budget.deposit()
    assert budget.balance == 0.5
    assert not budget.withdraw(ValueError())
    budget.deposit()
    assert budget.withdraw(ValueError())
    assert budget.balance == 0
    for _ in range(100):
        budget.deposit()
    assert budget.balance == 4


@virtual_time
async def test_the_floor_lets_a_quiet_service_try_again() -> None:
    budget = drained(floor=0.25, capacity=2)
    await asyncio.sleep(3)
    assert budget.balance == 0.75
    await asyncio.sleep(1)
    assert budget.withdraw(ValueError())
    await asyncio.sleep(100)
    assert budget.balance == 2


def test_deposits_before_the_first_look_count_and_time_never_runs_back() -> None:
    tokens = Tokens(ratio=1, floor=1, capacity=10, start=2)
    tokens.earned = 3
    assert tokens.balance(100.0) == 5  # no floor for the time before the account was first looked at
    assert tokens.balance(101.0) == 6
    assert tokens.balance(50.0) == 6
    assert tokens.balance(102.0) == 7
    assert tokens.withdraw(7, 102.0)
    assert not tokens.withdraw(0.5, 102.0)
    assert tokens.withdraw(0, 102.0)


@pytest.mark.parametrize(
    ("error", "price"),
    [
        (ValueError(), 1),
        (TimeoutError(), 5),
        (CallTimeoutError(), 5),
        (None, 7),
        (RateLimitedError(retry_after=1.0), 0.25),
        (CallTimeoutError(retry_after=2.0), 0.25),
    ],
)
def test_prices_by_kind_of_error(error: BaseException | None, price: float) -> None:
    assert Prices(hedge=7, throttled=0.25).of(error) == price


def test_default_prices() -> None:
    prices = Prices()
    assert (prices.error, prices.timeout, prices.hedge, prices.throttled) == (1, 5, 5, 0)


def test_an_own_cost_function() -> None:
    budget = RetryBudget(capacity=4, floor=0, cost=lambda error: 2.0)
    assert budget.price(None) == budget.price(ValueError()) == 2
    assert budget.withdraw(None)
    assert not budget.withdraw(None)


def test_a_refund_is_never_more_than_the_account_holds() -> None:
    budget = RetryBudget(capacity=4, floor=0)
    assert budget.withdraw(ValueError())
    assert budget.withdraw(ValueError())
    budget.refund(1.5)
    assert budget.balance == 1.5
    budget.refund(10)
    assert budget.balance == 4


def test_nonsense_is_refused_together_with_the_values_seen() -> None:
    with pytest.raises(
        ValueError, match=r"ratio must.*-1.*floor must.*inf.*capacity must.*0.*prices or cost"
    ):
        RetryBudget(-1, floor=math.inf, capacity=0, prices=Prices(), cost=lambda error: 1)
    with pytest.raises(ValueError, match=r"error must.*-1.*timeout must.*nan"):
        Prices(error=-1, timeout=math.nan)
    with pytest.raises(ValueError, match="ratio"):
        RetryBudget(10.5)
    with pytest.raises(ValueError, match="hedge must"):
        Prices(hedge=math.inf)
    with pytest.raises(ValueError, match="capacity must"):
        RetryBudget(capacity=math.inf)
    for wrong, named in (
        ({"prices": 3}, "prices must"),
        ({"cost": 3}, "cost must"),
        ({"classify": 3}, "classify must"),
    ):
        with pytest.raises(TypeError, match=named):
            RetryBudget(**wrong)  # type: ignore[arg-type]
    RetryBudget(0, floor=0, capacity=0.5)
    RetryBudget(10)
    Prices(error=0)


@virtual_time
async def test_retries_stop_when_the_budget_is_used_up_and_the_error_says_so() -> None:
    budget, calls = RetryBudget(capacity=4, floor=0), []

    async def down() -> None:
        calls.append(1)
        raise ConnectionError("down")

    guarded = Retry(attempts=10, wait=0.1, budget=budget)(down)
    with pytest.raises(ConnectionError) as raised:
        await guarded()
    assert len(calls) == 3  # two tokens, two retries
    assert raised.value.__notes__ == ["gave up after 3 attempts, 0.2 s after the first failed (budget)"]
    with pytest.raises(ConnectionError) as raised:
        await guarded()
    assert len(calls) == 4
    assert raised.value.__notes__ == ["gave up after 1 attempt (budget)"]


@virtual_time
async def test_successes_under_retry_earn() -> None:
    budget = drained(ratio=0.5)

    async def fine() -> int:
        return 1

    await Pipeline(Retry(budget=budget)).run(fine)
    assert budget.balance == 0.5
    Retry(budget=budget).call(lambda: 1)
    assert budget.balance == 1.0

    async def items():
        yield 1

    assert [item async for item in Retry(budget=budget).stream(items)] == [1]
    assert budget.balance == 1.5


async def test_an_empty_budget_is_degraded() -> None:
    budget = RetryBudget(ratio=0, floor=0, capacity=2)
    assert (await budget.check()).status == "up"
    assert budget.withdraw(ConnectionError())
    found = await budget.check()
    assert (budget.name, found.status) == ("retry_budget", "degraded")
    assert found.details == {"balance": 0.0, "capacity": 2}
    assert (await Health(RetryBudget(name="mail")).report()).status == "up"


@virtual_time
async def test_a_result_to_retry_after_costs_as_much_as_a_quick_error() -> None:
    asked: list[BaseException | None] = []

    def cost(error: BaseException | None) -> float:
        asked.append(error)
        return 0.0

    async def nothing() -> None:
        return None

    for budget in (RetryBudget(0, floor=0, capacity=8), RetryBudget(0, floor=0, capacity=8, cost=cost)):
        await Retry(4, wait=0, result=lambda found: found is None, budget=budget).run(nothing)
        assert budget.balance == (4 if asked else 1)
    assert all(isinstance(each, Exception) for each in asked)


async def test_health_shows_tenths_of_a_token() -> None:
    budget = RetryBudget(capacity=2.5, floor=0)
    assert (await budget.check()).details == {"balance": 1.2, "capacity": 2.5}


def test_misuse_is_refused_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="name must"):
        RetryBudget(name="")
