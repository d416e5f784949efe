"""Links to a new password on a real database: one a person, used once, for a while."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta

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
    assert [await recoveries.email_of(digest_of(each)) for each in (first, token)] == [None, user.email]
    assert await recoveries.redeem(digest_of(token), "novo") == user
    assert (await users.with_hash(user.email))[1] == "novo"
    assert await recoveries.redeem(digest_of(token), "outro") is None
    third = await recoveries.issue(user.id)
    await recoveries.forget(user.id)
    assert not await recoveries.is_valid(digest_of(third))
    old = await recoveries.issue(user.id)
    await db.execute("update password_recoveries set expires_at = now() where user_id = $1", user.id)
    assert not await recoveries.is_valid(digest_of(old))
    assert await recoveries.email_of(digest_of(old)) is None
    assert await recoveries.redeem(digest_of(old), "x") is None


async def test_a_link_lives_45_minutes_and_its_token_cannot_be_guessed(db):
    user = await a_user(db)
    token = await Recoveries(db).issue(user.id)
    assert len(base64.urlsafe_b64decode(token + "=")) == 32  # 256 random bits
    lives = "select expires_at - created_at from password_recoveries where user_id = $1"
    assert await db.fetchval(lives, user.id) == timedelta(minutes=45)
    await db.execute(
        "update password_recoveries set created_at = now() - interval '1 day' where user_id = $1", user.id
    )
    await Recoveries(db).issue(user.id)
    assert await db.fetchval(lives, user.id) == timedelta(minutes=45)  # those of the newest link


async def test_of_two_who_redeem_a_link_at_once_one_sets_the_password(db):
    user, recoveries = await a_user(db), Recoveries(db)
    digest = digest_of(await recoveries.issue(user.id))
    both = await asyncio.gather(recoveries.redeem(digest, "um"), recoveries.redeem(digest, "dois"))
    assert sorted(both, key=bool) == [None, user]
    assert (await Users(db).with_hash(user.email))[1] == ("um" if both[0] else "dois")


async def test_a_token_that_is_no_text_is_just_wrong(db):
    assert not await Recoveries(db).is_valid(digest_of("\ud800"))
    assert await Recoveries(db).redeem(digest_of("\ud800"), "x") is None
