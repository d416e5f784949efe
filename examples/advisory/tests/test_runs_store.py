"""A question and its run on a real database: made once, searched, stopped, asked again."""

from __future__ import annotations

from uuid import uuid4

import pytest

from advisory.council.model import Spend
from advisory.store.deleted import RUNS, Bin
from advisory.store.events import RunEvents, run_topic
from advisory.store.personas import Personas
from advisory.store.refunds import Refunds
from advisory.tests.stored import a_user

pytestmark = pytest.mark.integration


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
    reuse = Refunds(db, "runs").take
    for fail, outage, status in (((1, 2), False, "no_quorum"), ((1,), True, "partial"), ((), True, "done")):
        await world.finish(await world.done(await world.ask(), fail=fail, outage=outage), status)
        assert not await reuse(world.user.id), (fail, outage, status)
    await world.finish(await world.done(await world.ask(), fail=(1, 2), outage=True), "no_quorum")
    assert not await reuse((await a_user(db)).id)
    taken = await reuse(world.user.id)
    assert taken is not None
    assert not await reuse(world.user.id)
    await Refunds(db, "runs").put_back(taken)
    assert await reuse(world.user.id) == taken
    run_id = await world.finish(await world.done(await world.ask(), fail=(1, 2), outage=True), "no_quorum")
    await db.execute("update runs set refunded_at = now() - interval '61 minutes' where id = $1", run_id)
    assert not await reuse(world.user.id)


async def test_a_synthesis_that_an_outage_took_gives_the_use_back_and_what_is_owed_stays_owed(db, world):
    reuse, rows = Refunds(db, "runs").take, world.rows
    for outage in (False, True):
        run_id = await world.done(await world.ask())
        async with db.transaction() as tx:
            spend = Spend(step="synthesis")
            await rows.synthesised(tx, run_id, text="", model="", reason="caiu", spend=spend, outage=outage)
        await world.finish(run_id, "unsynthesised")
        assert bool(await reuse(world.user.id)) is outage
    run_id = await world.finish(await world.done(await world.ask(), fail=(1, 2), outage=True), "no_quorum")
    await world.runs.resume(world.user.id, run_id)  # paid for by another use
    await world.finish(await world.done(run_id), "done")
    assert await reuse(world.user.id) == run_id
