"""Events as rows of a real database: numbered, announced, read through an outage."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from advisory.store.events import RunEvents, append, run_topic

pytestmark = pytest.mark.integration


async def test_an_event_has_a_number_and_a_notice(db, world):
    run_id = await world.ask()
    heard: list[str] = []
    async with db.acquire() as connection:

        def hear(*given: Any) -> None:
            heard.append(given[3])

        await connection.add_listener("advisory_events", hear)
        async with db.transaction() as tx:
            assert await append(tx, run_id, "x", {"a": 1}) == 2
            assert await append(tx, run_id, "y", {}) == 3
        for _ in range(100):
            if heard:
                break
            await asyncio.sleep(0.01)
        await connection.remove_listener("advisory_events", hear)
    assert set(heard) == {run_topic(run_id)}
    events = (await RunEvents(db).read(run_topic(run_id), 1, 10)).events
    assert [(each.id, each.name, each.data) for each in events] == [(2, "x", {"a": 1}), (3, "y", {})]
