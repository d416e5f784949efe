"""Links to a new password on a real database: one a person, used once, for a while."""

from __future__ import annotations

import pytest

from advisory.store.recoveries import Recoveries, digest_of
from advisory.store.users import Users
from advisory.tests.stored import a_user

pytestmark = pytest.mark.integration


async def test_a_recovery_is_redeemed_once(db):
    user, recoveries, users = await a_user(db), Recoveries(db), Users(db)
    first = await recoveries.issue(user.id)
    token = await recoveries.issue(user.id)
    assert len(token) >= 43
    assert not await recoveries.is_valid(digest_of(first))
    assert await recoveries.is_valid(digest_of(token))
    assert await recoveries.redeem(digest_of(token), "novo") == user
    assert (await users.with_hash(user.email))[1] == "novo"
    assert await recoveries.redeem(digest_of(token), "outro") is None
    third = await recoveries.issue(user.id)
    await recoveries.forget(user.id)
    assert not await recoveries.is_valid(digest_of(third))
    old = await recoveries.issue(user.id)
    await db.execute("update password_recoveries set expires_at = now() where user_id = $1", user.id)
    assert not await recoveries.is_valid(digest_of(old))
    assert await recoveries.redeem(digest_of(old), "x") is None
