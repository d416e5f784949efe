"""Without a Redis: the share of this process. With one: tests/integration/redis/test_shared_limits.py."""

from __future__ import annotations

import pytest

from prodkit.redis import RedisLink, SharedRetryBudget
from prodkit.testing.loop import virtual_time


@virtual_time
async def test_a_process_alone_pays_from_its_share() -> None:
    budget = SharedRetryBudget(RedisLink(None), capacity=20, replicas=4, floor=0, ratio=0.5)
    async with budget:
        assert budget.balance == 2.5  # half of its share
        assert [budget.withdraw(OSError()) for _ in range(3)] == [True, True, False]
        for _ in range(4):
            budget.deposit()
        assert budget.balance == 2.5
        assert budget.price(TimeoutError()) == 5
        budget.refund(1)
        assert budget.balance == 3.5
        assert (await budget.check()).status == "up"


def test_misuse() -> None:
    with pytest.raises(ValueError, match="capacity") as problem:
        SharedRetryBudget(RedisLink(None), capacity=0, replicas=0)
    assert "replicas" in str(problem.value)
