"""Share links on a real database: of finished councils, limited in time and number."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from advisory.store.purge import purge
from advisory.store.share import MAX_SHARES, Shares
from advisory.tests.stored import a_user

pytestmark = pytest.mark.integration


async def test_share_links(db, world):
    shares, other = Shares(db), await a_user(db)
    run_id = await world.ask()
    assert await shares.add(world.user.id, run_id, days=7) is None  # not finished
    await world.finish(run_id, "no_quorum")
    assert await shares.add(other.id, run_id, days=7) is None
    token = await shares.add(world.user.id, run_id, days=7)
    assert len(token) >= 43
    assert await shares.open(token) == (world.user.id, run_id)
    assert await shares.open(token + "x") is None
    (share,) = await shares.valid(world.user.id, run_id)
    assert timedelta(days=6.9) < share.expires_at - share.created_at < timedelta(days=7.1)
    assert await shares.valid(other.id, run_id) == []
    assert not await shares.revoke(other.id, run_id, share.id)
    assert not await shares.revoke(world.user.id, uuid4(), share.id)
    assert await shares.revoke(world.user.id, run_id, share.id)
    assert not await shares.revoke(world.user.id, run_id, share.id)
    assert await shares.open(token) is None
    tokens = [await shares.add(world.user.id, run_id, days=1) for _ in range(MAX_SHARES)]
    assert None not in tokens
    assert len(set(tokens)) == MAX_SHARES
    assert await shares.add(world.user.id, run_id, days=1) is None
    await db.execute("update shares set expires_at = now() where run_id = $1", run_id)
    assert await shares.open(tokens[0]) is None
    assert await shares.valid(world.user.id, run_id) == []
    assert await shares.add(world.user.id, run_id, days=1) is not None
    await purge(db)
    assert await db.fetchval("select count(*) from shares where run_id = $1", run_id) == 1
