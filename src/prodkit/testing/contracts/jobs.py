"""The behaviour that every engine of ``prodkit.jobs`` has: subclass :class:`JobsContract` for yours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

from prodkit import jobs
from prodkit.errors import InvalidError, RejectedError
from prodkit.jobs.engine import Engine
from prodkit.jobs.values import Recorded
from prodkit.policies.backoff import constant

__all__ = ["JobsContract"]


def _raises(kind: type[BaseException], work: Coroutine[Any, Any, Any]) -> Any:
    async def check() -> BaseException:
        try:
            await work
        except kind as error:
            return error
        raise AssertionError(f"{kind.__name__} was not raised")

    return check()


class JobsContract:
    """Recorded steps, fences, retries, dead letters, keys, priorities, limits, signals, timers and schedules.

    :meth:`engine` gives an empty engine. The tests are coroutines and run on whatever loop your pytest gives them.
    """

    wait: float = 20.0
    """Seconds that a test waits for a result."""

    def engine(self) -> AbstractAsyncContextManager[Engine]:
        """Return an empty, prepared engine."""
        raise NotImplementedError

    async def _result(self, engine: Engine, run_id: Any) -> Any:
        return await jobs.Runs(engine).result(run_id, timeout=self.wait)

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
            await _raises(jobs.JobFailedError, self._result(engine, dead.id))
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

    async def test_a_failed_attempt_is_repeated_without_its_finished_steps(self) -> None:
        calls: list[str] = []

        @jobs.job(attempts=3, backoff=constant(0.05))
        async def flaky() -> str:
            paid: str = await jobs.step("pay", _note(calls, "pay"))
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

    async def test_a_run_whose_attempts_are_used_up_is_a_dead_letter_that_can_be_retried(self) -> None:
        calls: list[str] = []
        broken = True

        async def buried(name: str) -> None:
            calls.append(f"{name} is dead")

        @jobs.job(attempts=2, backoff=constant(0.02), on_dead=buried)
        async def fragile(name: str) -> str:
            await jobs.step("first", _note(calls, "first"))
            if broken:
                raise OSError("no route to the printer")
            return "printed"

        async with self.engine() as engine, jobs.Worker(engine, [fragile]):
            run = await fragile.enqueue(engine, "letter")
            error = await _raises(jobs.JobFailedError, self._result(engine, run.id))
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
            await _raises(jobs.JobFailedError, self._result(engine, run.id))
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
            await _raises(jobs.JobCancelledError, self._result(engine, run.id))
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
            await _raises(jobs.RunLostError, _enter(engine.transaction(old)))
            assert await engine.record(new, "a", Recorded("done", "", "", "1"))
            assert await engine.finish(new, "done", result="2")
            kept = await engine.get(run.id)
            assert kept is not None
            assert (kept.result, kept.steps) == ("2", ("a",))

    async def test_a_silent_worker_is_relieved_and_recorded_steps_are_not_called_again(self) -> None:
        calls: list[str] = []

        @jobs.job
        async def two() -> str:
            first: str = await jobs.step("a", _note(calls, "a"))
            second: str = await jobs.step("b", _note(calls, "b"))
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
            await jobs.step("a", _note(calls, "a"))
            await jobs.step("b", slow)
            return await jobs.step("c", _note(calls, "c"))

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
                    error = await _raises(jobs.JobFailedError, self._result(engine, run.id))
                    assert error.error == "StepChangedError"
                    assert await jobs.Runs(engine).retry(run.id, forget=forget, accept=accept)
                    assert await self._result(engine, run.id) == expected

    async def test_a_step_with_once_is_not_called_again_after_a_crash(self) -> None:
        calls: list[str] = []

        @jobs.job(attempts=5, backoff=constant(0.02))
        async def pay() -> str:
            return await jobs.step.using(once=True)("charge", _note(calls, "charge"))

        async with self.engine() as engine:
            run = await pay.enqueue(engine)
            (dead,) = await engine.claim(uuid4(), {pay.name: 0}, 1, 60.0)
            await engine.record(dead, "charge", Recorded("started", "", "", ""))
            await engine.release(dead, delay=0.0)
            runs = jobs.Runs(engine)
            async with jobs.Worker(engine, [pay]):
                error = await _raises(jobs.JobFailedError, self._result(engine, run.id))
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
            side = jobs.step("side", _note(calls, "side"))
            await jobs.gather(jobs.sleep("pause", 2.5), side)
            return await jobs.step("after", _note(calls, "after"))

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
            error = await _raises(jobs.JobFailedError, self._result(engine, run.id))
            kept = await engine.get(run.id)
            assert kept is not None
            assert (error.error, kept.attempts) == ("CallTimeoutError", 2)
            run = await slow.using(deadline=0.05).enqueue(engine)
            error = await _raises(jobs.JobFailedError, self._result(engine, run.id))
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
                error = await _raises(jobs.JobFailedError, self._result(engine, run.id))
            assert error.error == "WorkerCrashed"

    async def test_a_schedule_fires_once_a_tick_in_a_fleet(self) -> None:
        @jobs.job(schedule=jobs.Every(0.2))
        async def tick() -> None: ...

        async with self.engine() as engine:
            fleet = [jobs.Worker(engine, [tick], name=f"w{n}") for n in range(4)]
            for each in fleet:
                await each.start()
            await asyncio.sleep(2.1)
            for each in fleet:
                await each.aclose()
            made = await engine.list(limit=100)
            assert 8 <= len(made) <= 12

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

    async def test_one_name_twice_in_a_run_is_refused(self) -> None:
        @jobs.job(attempts=1)
        async def twice() -> None:
            await jobs.step("a", _number, 1)
            await jobs.step("a", _number, 2)

        async with self.engine() as engine, jobs.Worker(engine, [twice]):
            run = await twice.enqueue(engine)
            error = await _raises(jobs.JobFailedError, self._result(engine, run.id))
            assert "used twice" in str(error)

    async def _idle(self, worker: jobs.Worker) -> None:
        for _ in range(100):
            if worker.in_flight == 0:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the waiting run is still held by its worker")

    async def _until(self, engine: Engine, run_id: Any, status: str, *, takes: int = 0) -> None:
        run = None
        for _ in range(400):
            run = await engine.get(run_id)
            if run is not None and run.status == status and run.takes >= takes:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"the run did not become {status}: {run}")


@jobs.job(name="contract.nothing")
async def _nothing() -> None:
    """Do nothing."""


async def _double(number: int) -> int:
    return number * 2


async def _number(value: int) -> int:
    return value


def _note(calls: list[str], word: str) -> Callable[[], Coroutine[Any, Any, str]]:
    async def note() -> str:
        calls.append(word)
        return word

    return note


async def _enter(manager: AbstractAsyncContextManager[Any]) -> None:
    async with manager:
        pass
