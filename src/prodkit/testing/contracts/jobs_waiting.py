"""Signals, timers, limits, deadlines and schedules of the jobs contract."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from prodkit import jobs
from prodkit.policies.backoff import constant
from prodkit.testing.contracts.jobs_engine import EngineContract, note, raises

__all__ = ["WaitingContract"]


class WaitingContract(EngineContract):
    """Runs that wait: for a signal, a time, a slot, a worker or a tick."""

    async def test_a_signal_resumes_the_run_that_waits_for_it(self) -> None:
        @jobs.job
        async def approval() -> str:
            answer = await jobs.signal("approved", timeout=60)
            return f"{answer['by']} said yes"

        async with self.engine() as engine, jobs.Worker(engine, [approval]) as worker:
            run = await approval.enqueue(engine)
            await self._until(engine, run.id, "waiting")
            await self._idle(worker)
            assert await jobs.Runs(engine).signal(run.id, "approved", {"by": "ana"})
            assert await self._result(engine, run.id) == "ana said yes"
            early = await approval.using(delay=0.2).enqueue(engine)
            await jobs.Runs(engine).signal(early.id, "approved", {"by": "bia"})
            assert await self._result(engine, early.id) == "bia said yes"

    async def test_any_of_several_signals_resumes_the_run(self) -> None:
        @jobs.job
        async def approval() -> str:
            waits = [asyncio.ensure_future(jobs.signal(name)) for name in ("approved", "refused")]
            first, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return ",".join(str(each.result()) for each in first)

        async with self.engine() as engine, jobs.Worker(engine, [approval]) as worker:
            for name in ("approved", "refused"):
                run = await approval.enqueue(engine)
                await self._until(engine, run.id, "waiting")
                await self._idle(worker)
                assert await jobs.Runs(engine).signal(run.id, "other", "?")
                assert await jobs.Runs(engine).signal(run.id, name, name)
                assert await self._result(engine, run.id) == name

    async def test_a_signal_that_does_not_come_times_out(self) -> None:
        @jobs.job
        async def approval() -> str:
            try:
                await jobs.signal("approved", timeout=0.3)
            except TimeoutError:
                return "no answer came"
            return "?"

        async with self.engine() as engine, jobs.Worker(engine, [approval]):
            run = await approval.enqueue(engine)
            assert await self._result(engine, run.id) == "no answer came"

    async def test_a_long_sleep_holds_no_worker(self) -> None:
        calls: list[str] = []

        @jobs.job
        async def reminder() -> str:
            side = jobs.step("side", note(calls, "side"))
            await jobs.gather(jobs.sleep("pause", 2.5), side)
            return await jobs.step("after", note(calls, "after"))

        async with self.engine() as engine, jobs.Worker(engine, [reminder]) as worker:
            run = await reminder.enqueue(engine)
            await self._until(engine, run.id, "queued", takes=1)
            await self._idle(worker)
            assert await self._result(engine, run.id) == "after"
        assert calls == ["side", "after"]

    async def test_limits_by_kind_and_by_tenant_hold(self) -> None:
        now, most = 0, 0

        async def busy() -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.05)
            now -= 1

        @jobs.job(concurrency=2)
        async def by_kind() -> None:
            await busy()

        @jobs.job(tenant_limit=1)
        async def by_tenant() -> None:
            await busy()

        async with self.engine() as engine:
            for job, limit in ((by_kind, 2), (by_tenant.using(tenant="acme"), 1)):
                most = 0
                made = [await job.enqueue(engine) for _ in range(6)]
                async with jobs.Worker(engine, [job], poll=0.05):
                    for each in made:
                        await self._result(engine, each.id)
                assert most == limit, job.name

    async def test_a_deadline_ends_a_run_and_a_timeout_an_attempt(self) -> None:
        @jobs.job(timeout=0.1, attempts=2, backoff=constant(0.01))
        async def slow() -> None:
            await asyncio.sleep(30)

        async with self.engine() as engine, jobs.Worker(engine, [slow]):
            run = await slow.enqueue(engine)
            error = await raises(jobs.JobFailedError, self._result(engine, run.id))
            kept = await engine.get(run.id)
            assert kept is not None
            assert (error.error, kept.attempts) == ("CallTimeoutError", 2)
            run = await slow.using(deadline=0.05).enqueue(engine)
            error = await raises(jobs.JobFailedError, self._result(engine, run.id))
            assert error.error == "DeadlineExceededError"

    async def test_a_run_that_every_worker_loses_is_given_up(self) -> None:
        @jobs.job(max_crashes=2)
        async def poison() -> str:
            return "survived"

        async with self.engine() as engine:
            run = await poison.enqueue(engine)
            for _ in range(3):
                assert len(await engine.claim(uuid4(), {poison.name: 0}, 1, 0.05)) == 1
                await asyncio.sleep(0.1)
            async with jobs.Worker(engine, [poison], lease=0.1, poll=0.02):
                error = await raises(jobs.JobFailedError, self._result(engine, run.id))
            assert error.error == "WorkerCrashed"

    async def test_a_schedule_fires_once_a_tick_in_a_fleet(self) -> None:
        @jobs.job(schedule=jobs.Every(0.2))
        async def tick() -> None: ...

        async with self.engine() as engine:
            clock = asyncio.get_running_loop().time
            fleet = [jobs.Worker(engine, [tick], name=f"w{n}") for n in range(4)]
            began = clock()
            for each in fleet:
                await each.start()
            for _ in range(150):  # a tick that a busy machine missed is made up for by one run: wait for runs
                await asyncio.sleep(0.2)
                if len(await engine.list(limit=500)) >= 8:
                    break
            for each in fleet:
                await each.aclose()
            ticks = (clock() - began) / 0.2 + 1
            assert 8 <= len(await engine.list(limit=500)) <= ticks
