"""Costs of the steps of a council on a real database."""

from __future__ import annotations

import pytest

from advisory.council.model import Spend
from advisory.store.spending import record

pytestmark = pytest.mark.integration


async def test_costs_of_a_step_that_is_made_again_add_up(db, world):
    run_id = await world.ask()
    async with db.transaction() as tx:
        await record(
            tx, run_id, Spend(step="s", model="a", input_tokens=1, output_tokens=2, cost=1.0, seconds=3.0)
        )
        await record(
            tx, run_id, Spend(step="s", model="b", input_tokens=10, output_tokens=20, cost=2.0, seconds=4.0)
        )
        await record(tx, run_id, Spend(step="s", cost=0.5))
    assert (await world.run(run_id)).spends == (
        Spend(step="s", model="b", input_tokens=11, output_tokens=22, cost=3.5, seconds=7.0),
    )
