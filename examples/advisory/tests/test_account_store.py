"""An account on a real database: its export, and its end."""

from __future__ import annotations

import pytest

from advisory.store.account import Account
from advisory.store.users import Users
from advisory.tests.stored import a_user

pytestmark = pytest.mark.integration


async def test_an_account_takes_its_data_and_goes(db, world):
    run_id = await world.done(await world.ask("Levo meus dados?", reviewed=True))
    account, other = Account(db), await a_user(db)
    data = await account.export(world.user.id)
    assert data["conta"]["email"] == world.user.email
    assert [each["nome"] for each in data["especialistas"]] == ["Helena", "Davi"]
    (council,) = data["conselhos"]
    assert council["pergunta"] == "Levo meus dados?"
    assert [each["texto"] for each in council["pareceres"]] == ["sim", "sim"]
    assert len(council["revisoes"]) == 2
    job = await db.fetchval("select job from runs where id = $1", run_id)
    assert await account.delete(world.user.id)
    assert not await account.delete(world.user.id)
    assert await Users(db).get(world.user.id) is None
    assert await db.fetchval("select count(*) from runs where id = $1", run_id) == 0
    assert await db.fetchval("select status from prodkit_jobs where id = $1", job) == "cancelled"
    assert await Users(db).get(other.id) == other
