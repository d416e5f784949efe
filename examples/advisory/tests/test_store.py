"""The SQL of accounts, experts and councils on a real database: the rows that change, and those that stay."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from advisory.council.model import Point, Spend
from advisory.migrations.apply import migrate
from advisory.store.account import Account
from advisory.store.council import CouncilRows
from advisory.store.deleted import RUNS, Bin
from advisory.store.events import RunEvents, append, run_topic
from advisory.store.experts import Expert, Experts
from advisory.store.personas import Personas
from advisory.store.purge import purge
from advisory.store.recoveries import Recoveries, digest_of
from advisory.store.runs import Runs
from advisory.store.saved import Saved, saved_key
from advisory.store.seeds import EXPERTS, seed_experts
from advisory.store.share import MAX_SHARES, Shares
from advisory.store.users import EmailTakenError, User, Users
from advisory.worker.council import Council
from prodkit import postgres
from prodkit.cache import Cache

pytestmark = pytest.mark.integration
_n = itertools.count(1)
MARK = uuid4().hex[:8]


@pytest.fixture(scope="module")
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


async def test_experts_of_ones_own_and_seeded_ones(db, world):
    experts, other = Experts(db), await a_user(db)
    await seed_experts(experts)
    assert await seed_experts(experts) == 0
    seen = await experts.visible_to(world.user.id)
    assert [each.name for each in seen[:2]] == ["Helena", "Davi"]
    assert {each["name"] for each in EXPERTS} <= {each.name for each in seen[2:]}
    helena = seen[0]
    assert helena == Expert(helena.id, world.user.id, "Helena", "papel", "g", "e", None)
    assert [each.id for each in await experts.some(other.id, [helena.id])] == []
    assert await experts.some(world.user.id, [helena.id]) == [helena]
    assert await experts.own(world.user.id, helena.id) == helena
    assert await experts.own(other.id, helena.id) is None
    new = {"name": "H", "role": "outro", "goals": "", "style": "s"}
    assert not await experts.edit(other.id, helena.id, **new)
    assert await experts.edit(world.user.id, helena.id, **new)
    assert await experts.own(world.user.id, helena.id) == Expert(
        helena.id, world.user.id, "H", "outro", "", "s", None
    )
    assert not await experts.remove(other.id, helena.id)
    assert await experts.remove(world.user.id, helena.id)
    assert not await experts.remove(world.user.id, helena.id)
    assert await experts.own(world.user.id, helena.id) is None
    slug = f"s-{uuid4().hex}"
    assert await experts.add(owner_id=None, name="S", role="r", goals="", style="", slug=slug)
    assert await experts.add(owner_id=None, name="S", role="r", goals="", style="", slug=slug) is None
    await db.execute("delete from experts where slug = $1", slug)


async def test_a_picture_is_its_owners(db, world):
    class Clean:
        content, media_type, sha256, width, height = b"png", "image/png", "abc", 3, 4

    experts, other = Experts(db), await a_user(db)
    made = await experts.add(
        owner_id=world.user.id,
        name="F",
        role="r",
        goals="",
        style="",
        avatar=Clean(),  # type: ignore[arg-type]
    )
    avatar_id = (await experts.own(world.user.id, made)).avatar_id
    found = await experts.avatar(world.user.id, avatar_id)
    assert (found.content, found.media_type, found.sha256) == (b"png", "image/png", "abc")
    assert await experts.avatar(other.id, avatar_id) is None
    assert await experts.avatar(world.user.id, uuid4()) is None
    values = {"name": "F", "role": "r", "goals": "", "style": ""}
    await experts.edit(world.user.id, made, **values)
    assert (await experts.own(world.user.id, made)).avatar_id == avatar_id  # without a new one the old stays
    await experts.edit(world.user.id, made, avatar=Clean(), **values)  # type: ignore[arg-type]
    assert (await experts.own(world.user.id, made)).avatar_id not in (None, avatar_id)
    size = await db.fetchrow("select width, height, owner_id from avatars where id = $1", avatar_id)
    assert tuple(size.values()) == (3, 4, world.user.id)


async def test_a_question_makes_a_run_with_seats_and_a_job_and_only_once_a_form(db, world):
    key = uuid4()
    run_id = await world.ask("Abro?", form_key=key, reviewed=True)
    assert await world.runs.ask(world.user.id, "Outra?", world.experts, form_key=key) == (run_id, False)
    assert await world.runs.sent(world.user.id, key) == run_id
    assert await world.runs.sent((await a_user(db)).id, key) is None
    run = await world.run(run_id)
    assert (run.id, run.question, run.status, run.last_seq) == (run_id, "Abro?", "queued", 1)
    assert [(seat.position, seat.name, seat.status) for seat in run.seats] == [
        (1, "Helena", "waiting"),
        (2, "Davi", "waiting"),
    ]
    assert run.seats[0].system.startswith("Você é Helena, papel.")
    assert [(each.position, each.status) for each in run.reviews] == [(1, "waiting"), (2, "waiting")]
    assert run.reviews[0].seed != run.reviews[1].seed
    assert await world.kinds(run_id) == ["run.queued"]
    assert (
        await db.fetchval(
            "select prodkit_jobs.status from prodkit_jobs join runs on job = prodkit_jobs.id where runs.id = $1",
            run_id,
        )
        == "queued"
    )
    assert await world.runs.experts_of(world.user.id, str(run_id)) == {each.id for each in world.experts}
    assert await world.runs.experts_of((await a_user(db)).id, str(run_id)) is None
    assert await world.runs.experts_of(world.user.id, "x") is None
    assert await world.runs.get((await a_user(db)).id, run_id) is None
    assert (await world.run(await world.ask("Sem revisão?"))).reviews == ()


async def test_a_persona_is_part_of_the_prompt_of_each_seat(db, world):
    personas = Personas(db)
    made = await personas.add(
        owner_id=world.user.id, name="Rosa", role="padeira", goals="crescer", style="calma"
    )
    persona = await personas.get(world.user.id, made)
    run = await world.run(await world.ask(persona=persona))
    assert (run.persona_id, run.persona_name) == (made, "Rosa")
    for seat in run.seats:
        assert seat.system.startswith(f"Você é {seat.name}, papel.")
        assert "Rosa" in seat.system
        assert "crescer" in seat.system
    assert "Rosa" not in (await world.run(await world.ask())).seats[0].system


async def test_the_history_is_newest_first_searched_by_all_words_and_has_a_bin(db, world):
    first, second = await world.ask("Vendo 100% da_loja?"), await world.ask("Compro pão?")
    await world.done(second)
    other = await a_user(db)
    history = world.runs.history
    assert [run.id for run in await history(world.user.id)] == [second, first]
    assert [run.id for run in await history(world.user.id, limit=1)] == [second]
    assert await history(other.id) == []
    for words, expected in (
        ("100% da_loja", [first]),
        ("LOJA vendo", [first]),
        ("sim davi", [second]),  # in an opinion, and in a name
        ("loja pão", []),
        ("%%", []),
        ("da.loja", []),
        ("\\", []),
    ):
        assert [run.id for run in await history(world.user.id, words=words)] == expected, words
    assert not await world.runs.delete(other.id, first)
    assert await world.runs.delete(world.user.id, first)
    assert not await world.runs.delete(world.user.id, first)
    assert [run.id for run in await history(world.user.id, deleted=True)] == [first]
    assert [run.id for run in await history(world.user.id)] == [second]
    assert (await world.run(first)).deleted_at is not None
    assert (await world.run(first)).status == "stopped"  # it was still waiting
    assert not await world.runs.restore(other.id, first)
    assert await world.runs.restore(world.user.id, first)
    assert not await world.runs.restore(world.user.id, first)
    assert await Bin(db, RUNS).remove(world.user.id, first)


async def test_a_council_from_its_first_to_its_last_row(db, world):
    run_id = await world.ask()
    rows = world.rows
    async with db.transaction() as tx:
        question, seats = await rows.begin(tx, run_id)
        assert question == "Abro a loja?"
        await rows.seat_started(tx, run_id, seats[0])
    assert [seat.status for seat in (await world.run(run_id)).seats] == ["running", "waiting"]
    async with db.transaction() as tx:
        await rows.seat_waits(
            tx, run_id, seats[0], attempt=2, attempts=3, wait=timedelta(seconds=9), reason="overloaded"
        )
        await rows.seat_waits(  # not one that does not run
            tx, run_id, seats[1], attempt=2, attempts=3, wait=timedelta(seconds=9), reason="x"
        )
    first, second = (await world.run(run_id)).seats
    assert (first.attempt, first.attempts, first.retry_reason) == (2, 3, "overloaded")
    assert first.retry_at is not None
    assert (second.attempt, second.retry_at) == (0, None)
    async with db.transaction() as tx:  # another worker takes it over
        _, seats = await rows.begin(tx, run_id)
        assert [seat.status for seat in seats] == ["waiting", "waiting"]
    await world.done(run_id)
    run = await world.run(run_id)
    assert run.status == "running"
    assert [(seat.status, seat.text, seat.model, seat.retry_at) for seat in run.seats] == [
        ("done", "sim", "m", None)
    ] * 2
    assert all(seat.seconds is not None for seat in run.seats)
    async with db.transaction() as tx:
        assert await rows.chair_started(tx, run_id) == ""
        await rows.chair_wrote(tx, run_id, "Comece ", at=0)
        await rows.chair_wrote(tx, run_id, "Comece ", at=0)  # once more, after an unknown commit
        await rows.chair_wrote(tx, run_id, "pequeno.", at=7)
        assert await rows.chair_started(tx, run_id) == "Comece pequeno."
        assert not await rows.has_synthesis(tx, run_id)
        await rows.synthesised(
            tx, run_id, text="Comece pequeno.", model="m", reason="", spend=Spend(step="synthesis", cost=0.25)
        )
        assert await rows.has_synthesis(tx, run_id)
        points = (Point(text="Testar", agree=(1,), disagree=(2,), note="porque"),)
        await rows.agreements.compared(tx, run_id, points, "", Spend(step="agreement", model="h", cost=0.125))
        await rows.finish(tx, run_id, "done")
        assert await rows.begin(tx, run_id) is None
    run = await world.run(run_id)
    assert (run.status, run.synthesis, run.synthesis_model, run.synthesis_reason) == (
        "done", "Comece pequeno.", "m", "",
    )  # fmt: skip
    assert run.finished_at is not None
    assert run.agreement == points
    assert {each.step: (each.model, each.cost) for each in run.spends} == {
        "seat:1": ("m", 0.5), "seat:2": ("m", 0.5), "synthesis": ("", 0.25), "agreement": ("h", 0.125),
    }  # fmt: skip
    assert await world.kinds(run_id) == [
        "run.queued", "run.started", "seat.started", "seat.waits", "seat.waits", "run.started", "run.started",
        "seat.started", "seat.done", "seat.started", "seat.done", "chair.started", "chair.text", "chair.text",
        "chair.started", "chair.done", "agreement.done", "run.finished",
    ]  # fmt: skip
    events = (await RunEvents(db).read(run_topic(run_id), 0, 1000)).events
    assert [each.data["resumed"] for each in events if each.name == "run.started"] == [False, True, True]
    assert [each.data["resumed"] for each in events if each.name == "chair.started"] == [False, True]
    progress = [each.data for each in events if each.name == "seat.done"]
    assert [(each["position"], each["name"], each["settled"], each["total"]) for each in progress] == [
        (1, "Helena", 1, 2), (2, "Davi", 2, 2),
    ]  # fmt: skip
    page = await RunEvents(db).read(run_topic(run_id), 3, 2)
    assert [each.id for each in page.events] == [4, 5]
    assert page.newest == 18
    assert (await RunEvents(db).read(run_topic(uuid4()), 0, 5)) == type(page)((), 0)


async def test_a_broken_synthesis_keeps_its_beginning_and_no_model(db, world):
    run_id = await world.done(await world.ask())
    async with db.transaction() as tx:
        await world.rows.synthesised(
            tx,
            run_id,
            text="Come",
            model="",
            reason="caiu",
            spend=Spend(step="synthesis", model="", cost=0.0),
        )
        assert not await world.rows.has_synthesis(tx, run_id)
        await world.rows.finish(tx, run_id, "unsynthesised")
    run = await world.run(run_id)
    assert (run.status, run.synthesis, run.synthesis_reason) == ("unsynthesised", "Come", "caiu")
    assert "chair.done" not in await world.kinds(run_id)
    assert await world.runs.resume(world.user.id, run_id, keep_synthesis=True)
    run = await world.run(run_id)
    assert (run.status, run.synthesis, run.synthesis_reason) == ("queued", "Come", "")
    assert [seat.status for seat in run.seats] == ["done", "done"]


async def test_costs_of_a_step_that_is_made_again_add_up(db, world):
    from advisory.store.spending import record

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


async def test_reviews_are_kept_one_by_one(db, world):
    run_id = await world.done(await world.ask(reviewed=True))
    seats = (await world.run(run_id)).seats
    review = world.rows.cross_review
    async with db.transaction() as tx:
        assert [each.status for each in await review.reviews(tx, run_id)] == ["waiting", "waiting"]
        await review.started(tx, run_id, 2)
        await review.finished(tx, run_id, seats[0], [2], "", Spend(step="review:1", cost=0.5))
        await review.finished(tx, run_id, seats[1], [], "motivo", Spend(step="review:2", cost=0.0))
    run = await world.run(run_id)
    assert [(each.status, each.ranking, each.reason) for each in run.reviews] == [
        ("done", (2,), ""),
        ("failed", (), "motivo"),
    ]
    assert {"review:1", "review:2"} <= {each.step for each in run.spends}
    assert (await world.kinds(run_id))[-3:] == ["reviews.started", "review.done", "review.failed"]
    seeds = [each.seed for each in run.reviews]
    await world.finish(run_id, "unsynthesised")
    assert await world.runs.resume(world.user.id, run_id)  # no new opinion: the reviews stay
    assert [each.status for each in (await world.run(run_id)).reviews] == ["done", "failed"]
    await world.runs.stop(world.user.id, run_id)
    await db.execute("update seats set status = 'failed' where run_id = $1 and position = 2", run_id)
    assert await world.runs.resume(world.user.id, run_id)
    run = await world.run(run_id)
    assert [(each.status, each.ranking, each.reason) for each in run.reviews] == [("waiting", (), "")] * 2
    assert [each.seed for each in run.reviews] != seeds


async def test_a_stop_keeps_what_is_finished_and_cancels_the_job(db, world):
    run_id = await world.ask(reviewed=True)
    async with db.transaction() as tx:
        _, seats = await world.rows.begin(tx, run_id)
        await world.rows.seat_done(tx, run_id, seats[0], text="sim", model="m", spend=Spend(step="seat:1"))
    assert not await world.runs.stop((await a_user(db)).id, run_id)
    assert await world.runs.stop(world.user.id, run_id)
    assert not await world.runs.stop(world.user.id, run_id)
    run = await world.run(run_id)
    assert (run.status, [seat.status for seat in run.seats]) == ("stopped", ["done", "stopped"])
    assert [each.status for each in run.reviews] == ["stopped", "stopped"]
    assert run.finished_at is not None
    assert (await world.kinds(run_id))[-1] == "run.finished"
    status = (
        "select prodkit_jobs.status from prodkit_jobs join runs on job = prodkit_jobs.id where runs.id = $1"
    )
    assert await db.fetchval(status, run_id) == "cancelled"


@pytest.mark.parametrize(("fail", "status"), [((), "done"), ((2,), "partial")])
async def test_a_stop_after_the_synthesis_is_its_outcome(db, world, fail, status):
    run_id = await world.done(await world.ask(), fail=fail)
    async with db.transaction() as tx:
        await world.rows.synthesised(
            tx, run_id, text="t", model="m", reason="", spend=Spend(step="synthesis")
        )
    assert await world.runs.stop(world.user.id, run_id)
    run = await world.run(run_id)
    assert (run.status, run.synthesis) == (status, "t")
    events = (await RunEvents(db).read(run_topic(run_id), 0, 100)).events
    assert events[-1].data == {"status": status}


async def test_one_seat_or_all_are_asked_again(db, world):
    run_id = await world.done(await world.ask(), fail=(1, 2))
    assert not await world.runs.resume(world.user.id, run_id)  # it has not ended
    await world.finish(run_id, "no_quorum")
    assert not await world.runs.resume((await a_user(db)).id, run_id)
    assert not await world.runs.resume(world.user.id, run_id, position=3)
    assert await world.runs.resume(world.user.id, run_id, position=2)
    run = await world.run(run_id)
    assert [(seat.status, seat.reason) for seat in run.seats] == [("failed", "motivo"), ("waiting", "")]
    assert (run.status, run.finished_at) == ("queued", None)
    assert (await world.kinds(run_id))[-1] == "run.queued"
    assert (await RunEvents(db).read(run_topic(run_id), 0, 100)).events[-1].data == {"total": 2}
    assert await db.fetchval("select count(*) from prodkit_jobs where arguments like $1", f"%{run_id}%") == 2
    assert await world.runs.stop(world.user.id, run_id)
    assert await world.runs.resume(world.user.id, run_id, position=1)
    run = await world.run(run_id)
    assert [(seat.status, seat.reason) for seat in run.seats] == [
        ("waiting", ""),
        ("failed", "você interrompeu o conselho antes da resposta"),
    ]
    await world.runs.stop(world.user.id, run_id)
    assert await world.runs.resume(world.user.id, run_id)
    assert [seat.status for seat in (await world.run(run_id)).seats] == ["waiting", "waiting"]


async def test_an_outage_gives_the_use_back_once_and_for_an_hour(db, world):
    reuse = world.runs.reuse_refund
    for fail, outage, status in (((1, 2), False, "no_quorum"), ((1,), True, "partial"), ((), True, "done")):
        await world.finish(await world.done(await world.ask(), fail=fail, outage=outage), status)
        assert not await reuse(world.user.id), (fail, outage, status)
    await world.finish(await world.done(await world.ask(), fail=(1, 2), outage=True), "no_quorum")
    assert not await reuse((await a_user(db)).id)
    assert await reuse(world.user.id)
    assert not await reuse(world.user.id)
    run_id = await world.finish(await world.done(await world.ask(), fail=(1, 2), outage=True), "no_quorum")
    await db.execute("update runs set refunded_at = now() - interval '61 minutes' where id = $1", run_id)
    assert not await reuse(world.user.id)


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
