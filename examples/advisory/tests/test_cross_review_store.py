"""Reviews on a real database: kept one by one, made again with new opinions."""

from __future__ import annotations

import pytest

from advisory.council.model import Spend

pytestmark = pytest.mark.integration


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
