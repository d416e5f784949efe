"""Recorded, streamed, repeated and changed steps of the jobs contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

from prodkit import jobs
from prodkit.errors import RejectedError
from prodkit.jobs.values import Recorded
from prodkit.policies.backoff import constant
from prodkit.testing.contracts.jobs_engine import EngineContract, note, raises

__all__ = ["StepsContract"]


class StepsContract(EngineContract):
    """Steps: recorded once, called again only where the design says so."""

    async def test_a_job_runs_its_steps_and_its_result_is_kept(self) -> None:
        @jobs.job
        async def total(*numbers: int) -> int:
            doubled = await jobs.gather(
                *(jobs.step(f"double:{n}", _double, each) for n, each in enumerate(numbers))
            )
            return await jobs.step("sum", sum, doubled)

        async with self.engine() as engine:
            run = await total.enqueue(engine, 1, 2, 3)
            async with jobs.Worker(engine, [total]):
                assert await self._result(engine, run.id) == 12
            kept = await jobs.Runs(engine).get(run.id)
            assert kept is not None
            assert (kept.status, kept.takes, kept.attempts) == ("done", 1, 0)
            assert sorted(kept.steps) == ["double:0", "double:1", "double:2", "sum"]

    async def test_a_limit_bounds_the_steps_in_flight(self) -> None:
        busy = most = 0

        async def work(number: int) -> int:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0.02)
            busy -= 1
            return number

        @jobs.job
        async def wide() -> list[int]:
            return await jobs.gather(*(jobs.step(f"s{n}", work, n) for n in range(9)), limit=3)

        async with self.engine() as engine, jobs.Worker(engine, [wide]):
            run = await wide.enqueue(engine)
            assert await self._result(engine, run.id) == list(range(9))
        assert most == 3

    async def test_a_failed_attempt_is_repeated_without_its_finished_steps(self) -> None:
        calls: list[str] = []

        @jobs.job(attempts=3, backoff=constant(0.05))
        async def flaky() -> str:
            paid: str = await jobs.step("pay", note(calls, "pay"))
            sent: str = await jobs.step("send", failing)
            return paid + sent

        async def failing() -> str:
            calls.append("send")
            if calls.count("send") < 3:
                raise OSError("away")
            return "!"

        async with self.engine() as engine, jobs.Worker(engine, [flaky]):
            run = await flaky.enqueue(engine)
            assert await self._result(engine, run.id) == "pay!"
            assert (calls.count("pay"), calls.count("send")) == (1, 3)
            kept = await engine.get(run.id)
            assert kept is not None
            assert kept.attempts == 2

    async def test_a_changed_step_is_reported_and_can_be_accepted_or_forgotten(self) -> None:
        async with self.engine() as engine:

            def build(version: int) -> jobs.Job[[], int]:
                @jobs.job(name="deploy", attempts=1)
                async def deploy() -> int:
                    return await jobs.step.using(version=version)("number", _number, version)

                return deploy

            def again(version: int) -> AbstractAsyncContextManager[Any]:
                return jobs.Worker(engine, [build(version)])

            ways: list[tuple[list[str], bool, int]] = [([], True, 1), (["number"], False, 2)]
            for forget, accept, expected in ways:
                run = await build(1).enqueue(engine)
                (first,) = await engine.claim(uuid4(), {"deploy": 0}, 1, 60.0)
                await engine.record(first, "number", Recorded("done", "1", "", "1"))
                await engine.release(first, delay=0.0)
                async with again(2):
                    error = await raises(jobs.JobFailedError, self._result(engine, run.id))
                    assert error.error == "StepChangedError"
                    assert await jobs.Runs(engine).retry(run.id, forget=forget, accept=accept)
                    assert await self._result(engine, run.id) == expected

    async def test_a_step_with_once_is_not_called_again_after_a_crash(self) -> None:
        calls: list[str] = []

        @jobs.job(attempts=5, backoff=constant(0.02))
        async def pay() -> str:
            return await jobs.step.using(once=True)("charge", note(calls, "charge"))

        async with self.engine() as engine:
            run = await pay.enqueue(engine)
            (dead,) = await engine.claim(uuid4(), {pay.name: 0}, 1, 60.0)
            await engine.record(dead, "charge", Recorded("started", "", "", ""))
            await engine.release(dead, delay=0.0)
            runs = jobs.Runs(engine)
            async with jobs.Worker(engine, [pay]):
                error = await raises(jobs.JobFailedError, self._result(engine, run.id))
                assert error.error == "StepUnknownError"
                assert calls == []
                await runs.resolve(run.id, "charge", "receipt 9")
                assert await runs.retry(run.id)
                assert await self._result(engine, run.id) == "receipt 9"
                other = await pay.enqueue(engine)
                assert await self._result(engine, other.id) == "charge"
        assert calls == ["charge"]

    async def test_a_step_with_once_that_never_ran_may_be_tried_again(self) -> None:
        calls: list[str] = []

        @jobs.job(attempts=3, backoff=constant(0.02))
        async def pay() -> str:
            return await jobs.step.using(once=True)("charge", refused_at_first)

        async def refused_at_first() -> str:
            calls.append("x")
            if len(calls) == 1:
                raise RejectedError("the circuit is open")
            return "paid"

        async with self.engine() as engine, jobs.Worker(engine, [pay]):
            run = await pay.enqueue(engine)
            assert await self._result(engine, run.id) == "paid"
        assert len(calls) == 2

    async def test_a_streamed_step_resumes_behind_what_was_recorded(self) -> None:
        seen: list[str] = []

        @jobs.job
        async def write() -> str:
            return await jobs.stream("answer", words)

        async def words(written: str) -> AsyncIterator[str]:
            seen.append(written)
            for word in ("one ", "two ", "three"):
                if word not in written:
                    yield word

        async with self.engine() as engine:
            run = await write.enqueue(engine)
            (dead,) = await engine.claim(uuid4(), {write.name: 0}, 1, 60.0)
            await engine.append(dead, "answer", 0, ["one ", "two "])
            await engine.append(dead, "answer", 1, ["never "])  # number 1 is there already
            await engine.release(dead, delay=0.0)
            async with jobs.Worker(engine, [write]):
                assert await self._result(engine, run.id) == "one two three"
        assert seen == ["one two "]

    async def test_one_name_twice_in_a_run_is_refused(self) -> None:
        @jobs.job(attempts=1)
        async def twice() -> None:
            await jobs.step("a", _number, 1)
            await jobs.step("a", _number, 2)

        async with self.engine() as engine, jobs.Worker(engine, [twice]):
            run = await twice.enqueue(engine)
            error = await raises(jobs.JobFailedError, self._result(engine, run.id))
            assert "used twice" in str(error)


async def _double(number: int) -> int:
    return number * 2


async def _number(value: int) -> int:
    return value
