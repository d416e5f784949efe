"""The behaviour that every engine of ``prodkit.jobs`` has: subclass :class:`JobsContract` for yours."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

from prodkit import jobs
from prodkit.errors import InvalidError
from prodkit.jobs.values import Recorded
from prodkit.policies.backoff import constant
from prodkit.testing.contracts.jobs_engine import note, raises
from prodkit.testing.contracts.jobs_steps import StepsContract
from prodkit.testing.contracts.jobs_waiting import WaitingContract

__all__ = ["JobsContract"]


class JobsContract(StepsContract, WaitingContract):
    """Recorded steps, fences, retries, dead letters, keys, priorities, limits, signals, timers and schedules.

    :meth:`engine` gives an empty engine. The tests are coroutines and run on whatever loop your pytest gives them.
    """

    async def test_a_snapshot_shows_kinds_and_runs_without_what_they_carry(self) -> None:
        @jobs.job(name="broken", attempts=1)
        async def broken(word: str) -> None:
            raise OSError("no route, password=hunter2hunter2")

        @jobs.job(name="patient")
        async def patient(word: str) -> None:
            await jobs.signal("go")

        async with self.engine() as engine, jobs.Worker(engine, [broken, patient, _nothing]):
            dead = await broken.enqueue(engine, "private")
            waiting = await patient.enqueue(engine, "private")
            done = await _nothing.enqueue(engine)
            later = await _nothing.using(delay=600).enqueue(engine)
            await self._result(engine, done.id)
            await raises(jobs.JobFailedError, self._result(engine, dead.id))
            while not (seen := await jobs.Runs(engine).snapshot(limit=5)).waiting:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert [run.id for run in seen.dead] == [dead.id]
            assert [run.id for run in seen.waiting] == [waiting.id]
            assert {each.arguments + each.result for each in (*seen.dead, *seen.waiting)} == {""}
            assert seen.dead[0].error.startswith("OSError: no route")
            assert "hunter2hunter2" not in seen.dead[0].error
            by_name = {each.kind: each for each in seen.kinds}
            assert (by_name["broken"].dead, by_name["broken"].ended) == (1, 1)
            assert by_name["patient"].waiting == 1
            assert (by_name[_nothing.name].queued, by_name[_nothing.name].due) == (1, 0)
            assert by_name[_nothing.name].ended == 1
            assert (seen.stats.dead, seen.stats.waiting, seen.stats.queued) == (1, 1, 1)
            assert await jobs.Runs(engine).cancel(later.id)

    async def test_a_run_whose_attempts_are_used_up_is_a_dead_letter_that_can_be_retried(self) -> None:
        calls: list[str] = []
        broken = True

        async def buried(name: str) -> None:
            calls.append(f"{name} is dead")

        @jobs.job(attempts=2, backoff=constant(0.02), on_dead=buried)
        async def fragile(name: str) -> str:
            await jobs.step("first", note(calls, "first"))
            if broken:
                raise OSError("no route to the printer")
            return "printed"

        async with self.engine() as engine, jobs.Worker(engine, [fragile]):
            run = await fragile.enqueue(engine, "letter")
            error = await raises(jobs.JobFailedError, self._result(engine, run.id))
            assert "no route to the printer" in str(error)
            assert (error.run_id, error.error) == (str(run.id), "OSError")
            assert (await engine.stats()).dead == 1
            broken = False
            assert await jobs.Runs(engine).retry(run.id)
            assert await self._result(engine, run.id) == "printed"
            assert calls == ["first", "letter is dead"]
            assert not await jobs.Runs(engine).retry(run.id)

    async def test_a_refused_input_is_not_tried_again(self) -> None:
        calls: list[str] = []

        @jobs.job(attempts=5, backoff=constant(0.01))
        async def picky() -> None:
            calls.append("x")
            raise InvalidError("not a picture")

        async with self.engine() as engine, jobs.Worker(engine, [picky]):
            run = await picky.enqueue(engine)
            await raises(jobs.JobFailedError, self._result(engine, run.id))
            assert calls == ["x"]

    async def test_a_key_makes_one_run(self) -> None:
        async with self.engine() as engine:
            keyed = _nothing.using(key="order:7")
            made = await asyncio.gather(*(keyed.enqueue(engine) for _ in range(20)))
            assert len({each.id for each in made}) == 1
            assert sum(each.created for each in made) == 1
            other = await _nothing.using(key="order:8").enqueue(engine)
            assert other.created

    async def test_higher_priorities_start_first_and_delayed_runs_when_due(self) -> None:
        order: list[str] = []

        @jobs.job
        async def mark(name: str) -> None:
            order.append(name)

        async with self.engine() as engine:
            late = await mark.using(delay=0.3).enqueue(engine, "late")
            await mark.enqueue(engine, "low")
            await mark.using(priority=5).enqueue(engine, "high")
            async with jobs.Worker(engine, [mark], concurrency=1):
                await self._result(engine, late.id)
        assert order == ["high", "low", "late"]

    async def test_cancelling_interrupts_the_step_and_refuses_later_writes(self) -> None:
        inside, left = asyncio.Event(), asyncio.Event()

        @jobs.job
        async def endless() -> None:
            await jobs.step("wait", forever)

        async def forever() -> None:
            inside.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                left.set()

        async with self.engine() as engine, jobs.Worker(engine, [endless]):
            run = await endless.enqueue(engine)
            await asyncio.wait_for(inside.wait(), self.wait)
            assert await jobs.Runs(engine).cancel(run.id)
            await asyncio.wait_for(left.wait(), 3)
            await raises(jobs.JobCancelledError, self._result(engine, run.id))
            assert not await jobs.Runs(engine).cancel(run.id)

    async def test_a_worker_that_lost_its_run_can_write_nothing(self) -> None:
        async with self.engine() as engine:
            run = await _nothing.enqueue(engine)
            (old,) = await engine.claim(uuid4(), {_nothing.name: 0}, 1, 60.0)
            await asyncio.sleep(0.15)
            (new,) = await engine.claim(uuid4(), {_nothing.name: 0}, 1, 0.1)
            assert (old.fence, new.fence, new.takes) == (1, 2, 2)
            assert not await engine.record(old, "a", Recorded("done", "", "", "1"))
            assert not await engine.append(old, "s", 0, ["x"])
            assert not await engine.finish(old, "done", result="1")
            assert not await engine.release(old, delay=0)
            assert await engine.beat(uuid4(), [old, new]) == {run.id}
            await raises(jobs.RunLostError, _enter(engine.transaction(old)))
            assert await engine.record(new, "a", Recorded("done", "", "", "1"))
            assert await engine.finish(new, "done", result="2")
            kept = await engine.get(run.id)
            assert kept is not None
            assert (kept.result, kept.steps) == ("2", ("a",))

    async def test_a_silent_worker_is_relieved_and_recorded_steps_are_not_called_again(self) -> None:
        calls: list[str] = []

        @jobs.job
        async def two() -> str:
            first: str = await jobs.step("a", note(calls, "a"))
            second: str = await jobs.step("b", note(calls, "b"))
            return first + second

        async with self.engine() as engine:
            run = await two.enqueue(engine)
            (dead,) = await engine.claim(uuid4(), {two.name: 0}, 1, 60.0)
            await engine.record(dead, "a", Recorded("done", "", "", '"A"'))
            async with jobs.Worker(engine, [two], lease=0.4, poll=0.05):
                assert await self._result(engine, run.id) == "Ab"
        assert calls == ["b"]

    async def test_a_worker_that_leaves_hands_over_at_once(self) -> None:
        calls: list[str] = []
        inside = asyncio.Event()

        @jobs.job
        async def long() -> str:
            await jobs.step("a", note(calls, "a"))
            await jobs.step("b", slow)
            return await jobs.step("c", note(calls, "c"))

        async def slow() -> None:
            calls.append("b")
            inside.set()
            await asyncio.sleep(0.2)

        async with self.engine() as engine:
            run = await long.enqueue(engine)
            async with jobs.Worker(engine, [long], grace=5):
                await asyncio.wait_for(inside.wait(), self.wait)
            kept = await engine.get(run.id)
            assert kept is not None
            assert (kept.status, kept.steps) == ("queued", ("a", "b"))
            async with jobs.Worker(engine, [long]):
                assert await self._result(engine, run.id) == "c"
        assert calls == ["a", "b", "c"]

    async def test_a_step_that_outlasts_the_grace_is_interrupted_and_called_again(self) -> None:
        inside = asyncio.Event()
        calls: list[str] = []

        @jobs.job
        async def long() -> str:
            return await jobs.step("slow", slow)

        async def slow() -> str:
            calls.append("slow")
            inside.set()
            if len(calls) == 1:
                await asyncio.sleep(60)
            return "end"

        async with self.engine() as engine:
            run = await long.enqueue(engine)
            async with jobs.Worker(engine, [long], grace=0.1):
                await asyncio.wait_for(inside.wait(), self.wait)
            async with jobs.Worker(engine, [long]):
                assert await self._result(engine, run.id) == "end"
        assert calls == ["slow", "slow"]

    async def test_purging_removes_what_ended_and_keeps_the_rest(self) -> None:
        async with self.engine() as engine:
            async with jobs.Worker(engine, [_nothing]):
                run = await _nothing.enqueue(engine)
                await self._result(engine, run.id)
            waiting = await _nothing.enqueue(engine)
            await asyncio.sleep(0.05)
            assert await jobs.Runs(engine).purge(older=3600) == 0
            assert await jobs.Runs(engine).purge(older=0.01) == 1
            assert await engine.get(run.id) is None
            assert await engine.get(waiting.id) is not None


@jobs.job(name="contract.nothing")
async def _nothing() -> None:
    """Do nothing."""


async def _enter(manager: AbstractAsyncContextManager[Any]) -> None:
    async with manager:
        pass
