"""The rows that a council writes on a real database, from its first to its last."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from advisory.council.model import Point, Spend
from advisory.store.events import RunEvents, run_topic

pytestmark = pytest.mark.integration


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
