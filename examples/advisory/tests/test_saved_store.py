"""Saved answers on a real database: whole, recent, one account's."""

from __future__ import annotations

import pytest

from advisory.store.saved import Saved, saved_key
from advisory.tests.stored import a_user
from prodkit.cache import Cache

pytestmark = pytest.mark.integration


async def test_a_saved_answer_is_whole_recent_and_its_owners(db, world):
    async with Cache(namespace="t") as cache:
        saved = Saved(db, cache)
        key = saved_key(world.user.id, "Abro?", world.experts)
        assert await saved.find(world.user.id, key) is None
        run_id = await world.ask()
        await saved.remember(key, run_id)
        assert await saved.find(world.user.id, key) == run_id
        assert await saved.find((await a_user(db)).id, key) is None
        await cache.set(key, 7, ttl=10)
        assert await saved.find(world.user.id, key) is None
        await saved.remember(key, run_id)
        for status, expected in (("done", run_id), ("partial", None), ("stopped", None), ("running", run_id)):
            await db.execute("update runs set status = $2 where id = $1", run_id, status)
            assert await saved.find(world.user.id, key) == expected, status
        await db.execute("update runs set created_at = now() - interval '61 minutes' where id = $1", run_id)
        assert await saved.find(world.user.id, key) is None
