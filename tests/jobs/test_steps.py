import asyncio
from typing import Any

import pytest

from prodkit import CallTimeoutError, Retry, Timeout, jobs
from prodkit.testing import virtual_time


async def run(job: jobs.Job[..., Any]) -> Any:
    """The result of one run in memory."""
    engine = jobs.MemoryEngine()
    made = await job.enqueue(engine)
    async with jobs.Worker(engine, [job]):
        return await jobs.Runs(engine).result(made.id, timeout=600)


@virtual_time
async def test_a_recorded_step_is_not_called_again_in_the_next_attempt() -> None:
    calls: list[str] = []

    async def ask(question: str) -> str:
        calls.append(question)
        return question.upper()

    @jobs.job(attempts=2)
    async def body() -> str:
        answer = await jobs.step("ask", ask, "why")
        if len(calls) < 2:
            calls.append("failed")
            raise OSError
        return answer

    assert await run(body) == "WHY"
    assert calls == ["why", "failed"]


@virtual_time
async def test_an_error_is_not_recorded_and_the_body_may_call_again() -> None:
    answers: list[Any] = [OSError(), 3]

    async def ask() -> int:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return int(found)

    @jobs.job(attempts=1)
    async def body() -> int:
        try:
            return await jobs.step("ask", ask)
        except OSError:
            return await jobs.step("ask", ask)

    assert await run(body) == 3


@virtual_time
async def test_a_result_goes_through_json_on_the_first_call_too() -> None:
    async def pair() -> tuple[int, int]:
        return 1, 2

    def untyped():  # type: ignore[no-untyped-def]
        return (1, 2)

    @jobs.job(attempts=1)
    async def body() -> list[Any]:
        typed, plain = await jobs.step("a", pair), await jobs.step("b", untyped)
        return [type(typed).__name__, type(plain).__name__]

    assert await run(body) == ["tuple", "list"]


@virtual_time
async def test_a_policy_guards_the_call() -> None:
    calls = 0

    async def flaky() -> int:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise OSError
        return calls

    async def hang() -> None:
        await asyncio.sleep(1e6)

    @jobs.job(attempts=1)
    async def body() -> int:
        with pytest.raises(CallTimeoutError):
            await jobs.step.using(policy=Timeout(2))("hang", hang)
        return await jobs.step.using(policy=Retry(attempts=3, on=OSError, wait=1))("flaky", flaky)

    assert await run(body) == 3


@virtual_time
async def test_mistakes_are_named() -> None:
    async def fn() -> None: ...

    @jobs.job(attempts=1)
    async def body() -> list[str]:
        found = []
        for wrong in ((lambda: jobs.step("a", 3)), (lambda: jobs.step("", fn))):
            try:
                await wrong()  # type: ignore[no-untyped-call]
            except (TypeError, ValueError) as error:
                found.append(str(error))
        return found

    call, name = await run(body)
    assert "pass the function" in call
    assert "name" in name
    with pytest.raises((TypeError, ValueError), match=r"once.*on_change"):
        jobs.step.using(once=1, on_change="ignore")  # type: ignore[arg-type]


async def test_a_step_outside_of_a_job_is_refused() -> None:
    async def fn() -> None: ...

    with pytest.raises(RuntimeError, match="step"):
        await jobs.step("a", fn)
