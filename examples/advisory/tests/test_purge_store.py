"""Removal for good on a real database: old deletions and expired links go, the rest stays."""

from __future__ import annotations

import pytest

from advisory.store.purge import purge
from advisory.store.recoveries import Recoveries, digest_of

pytestmark = pytest.mark.integration


async def test_what_is_deleted_for_90_days_is_removed_and_the_rest_stays(db, world):
    old, fresh = await world.ask(), await world.ask()
    for run_id in (old, fresh):
        await world.runs.delete(world.user.id, run_id)
    await db.execute("update runs set deleted_at = now() - interval '91 days' where id = $1", old)
    token = await Recoveries(db).issue(world.user.id)
    lonely = await db.fetchval(
        """insert into avatars (owner_id, content, media_type, sha256, width, height, created_at)
           values ($1, 'x', 'image/png', 's', 1, 1, now() - interval '2 days') returning id""",
        world.user.id,
    )
    assert await purge(db) >= 2
    assert await world.run(old) is None
    assert await world.run(fresh) is not None
    assert await db.fetchval("select count(*) from avatars where id = $1", lonely) == 0
    assert await Recoveries(db).is_valid(digest_of(token))
    assert await purge(db) == 0
