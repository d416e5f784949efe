"""Accounts by id and address on a real database."""

from __future__ import annotations

import pytest

from advisory.store.users import EmailTakenError, Users
from advisory.tests.stored import a_user

pytestmark = pytest.mark.integration


async def test_accounts_by_id_and_address(db):
    user = await a_user(db)
    users = Users(db)
    assert user.email == user.email.lower()
    assert await users.get(user.id) == user
    assert await users.get(-1) is None
    assert await users.with_hash(user.email.upper()) == (user, "h")
    assert await users.with_hash("ninguem@ex.com") is None
    await users.set_hash(user.id, "novo")
    assert (await users.with_hash(user.email))[1] == "novo"
    with pytest.raises(EmailTakenError):
        await users.add(email=user.email.upper(), name="B", password_hash="x")
