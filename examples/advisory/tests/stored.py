"""A database with the app's schema, and an account with its councils, that the tests of ``store`` share."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from advisory.council.model import Spend
from advisory.migrations.apply import migrate
from advisory.store.council import CouncilRows
from advisory.store.events import RunEvents, run_topic
from advisory.store.experts import Expert, Experts
from advisory.store.runs import Runs
from advisory.store.users import User, Users
from advisory.worker.council import Council
from prodkit import postgres

_n = itertools.count(1)
MARK = uuid4().hex[:8]


@pytest.fixture(scope="session")
def store_url(request: pytest.FixtureRequest) -> str:
    """A database with the schema; the mutation tests name one for all their processes."""
    if given := os.environ.get("ADVISORY_STORE_URL"):
        return given
    url: str = request.getfixturevalue("postgres_server").create_database(f"store_{MARK}")
    asyncio.run(migrate(url))
    return url


@pytest.fixture
async def db(store_url: str) -> AsyncIterator[postgres.Pool]:
    async with postgres.Pool(store_url, min_size=1, max_size=4) as pool:
        yield pool


class World:
    """An account with two experts, and its councils."""

    def __init__(self, db: postgres.Pool, user: User, experts: list[Expert]) -> None:
        self.db = db
        self.user = user
        self.experts = experts
        self.runs = Runs(db, Council(CouncilRows(), None).job())  # type: ignore[arg-type]
        self.rows = CouncilRows()

    async def ask(self, question: str = "Abro a loja?", **options: Any) -> UUID:
        run_id, made = await self.runs.ask(self.user.id, question, self.experts, **options)
        assert made
        return run_id

    async def run(self, run_id: UUID) -> Any:
        return await self.runs.get(self.user.id, run_id)

    async def kinds(self, run_id: UUID) -> list[str]:
        page = await RunEvents(self.db).read(run_topic(run_id), 0, 1000)
        assert [each.id for each in page.events] == list(range(1, page.newest + 1))
        return [each.name for each in page.events]

    async def done(self, run_id: UUID, *, fail: tuple[int, ...] = (), outage: bool = False) -> UUID:
        """Answer every seat."""
        async with self.db.transaction() as tx:
            found = await self.rows.begin(tx, run_id)
            assert found is not None
            for seat in found[1]:
                await self.rows.seat_started(tx, run_id, seat)
                spend = Spend(step=f"seat:{seat.position}", model="m", input_tokens=3, cost=0.5, seconds=1.0)
                if seat.position in fail:
                    await self.rows.seat_failed(tx, run_id, seat, reason="motivo", outage=outage, spend=spend)
                elif seat.status == "waiting":
                    await self.rows.seat_done(tx, run_id, seat, text="sim", model="m", spend=spend)
        return run_id

    async def finish(self, run_id: UUID, status: Any) -> UUID:
        async with self.db.transaction() as tx:
            await self.rows.finish(tx, run_id, status)
        return run_id


async def a_user(db: postgres.Pool) -> User:
    return await Users(db).add(
        email=f"Pessoa{next(_n)}-{uuid4().hex[:6]}@ex.com", name="Ana", password_hash="h"
    )


@pytest.fixture
async def world(db: postgres.Pool) -> World:
    user = await a_user(db)
    experts = Experts(db)
    for name in ("Helena", "Davi"):
        await experts.add(owner_id=user.id, name=name, role="papel", goals="g", style="e")
    return World(db, user, [each for each in await experts.visible_to(user.id) if each.owner_id == user.id])
