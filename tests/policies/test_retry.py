import asyncio
import random
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import tenacity

import prodkit as pk
from prodkit.policies import exponential
from prodkit.policies.events import RetryGaveUp, RetryScheduled
from prodkit.testing import virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


class Script:
    """Raises or returns what stands in the script, one after the other."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.calls = 0

    async def __call__(self) -> Any:
        return self.now()

    def now(self) -> Any:
        self.calls += 1
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


@virtual_time
async def test_three_attempts_and_waits_of_one_and_two_seconds() -> None:
    script = Script(ConnectionError(), ConnectionError(), "answer")
    assert await pk.Retry(attempts=3, wait=exponential(1.0)).run(script) == "answer"
    assert now() == 3


@virtual_time
async def test_the_waits_come_from_the_runtimes_generator() -> None:
    waits = []
    for seed in (1, 1, 2):
        start = now()
        runtime = pk.Runtime(rng=random.Random(seed))
        await pk.Retry(runtime=runtime).run(Script(ConnectionError(), ConnectionError(), 1))
        waits.append(round(now() - start, 9))
    assert waits[0] == waits[1] != waits[2]


@virtual_time
async def test_what_is_worth_it() -> None:
    async def attempts(error: Exception, **options: Any) -> int:
        script = Script(error, error, "answer")
        try:
            await pk.Retry(wait=0, **options).run(script)
        except Exception as raised:
            assert raised is error
        return script.calls

    assert await attempts(ValueError()) == 3
    assert await attempts(ValueError(), on=KeyError) == 1
    assert await attempts(KeyError(), on=(ValueError, LookupError)) == 3
    assert await attempts(ValueError("503"), on=lambda error: "503" in str(error)) == 3
    assert await attempts(ValueError("404"), on=lambda error: "503" in str(error)) == 1
    assert await attempts(pk.CallTimeoutError()) == 3
    for never in (
        pk.CircuitOpenError(),
        pk.InvalidError(),
        pk.DeadlineExceededError(),
        pk.MissingExtraError(),
    ):
        assert await attempts(never) == 1
    assert await attempts(pk.BulkheadFullError(), on=(ConnectionError, pk.BulkheadFullError)) == 3
    assert await attempts(pk.BulkheadFullError(), on=pk.RejectedError) == 3
    assert await attempts(pk.CircuitOpenError(), on=lambda error: True) == 1


@virtual_time
async def test_tenacity_decides_when_it_is_asked_to() -> None:
    retry = pk.Retry(
        attempts=None,
        on=tenacity.retry_if_exception_type(ConnectionError) | tenacity.retry_if_result(lambda r: r is None),
        wait=tenacity.wait_incrementing(start=1, increment=1),
        stop=tenacity.stop_after_attempt(4),
    )
    assert await retry.run(Script(ConnectionError(), None, "answer")) == "answer"
    assert now() == 3
    assert await retry.run(Script(None, None, None, None)) is None
    with pytest.raises(ValueError):
        await retry.run(Script(ValueError()))
    with pytest.raises(ConnectionError) as raised:
        await retry.run(Script(*[ConnectionError() for _ in range(9)]))
    assert raised.value.__notes__ == ["gave up after 4 attempts in 6.0 s (stop)"]


@virtual_time
async def test_a_tenacity_stop_counts_on_our_clock() -> None:
    async def slow() -> None:
        await asyncio.sleep(1)
        raise ConnectionError

    with pytest.raises(ConnectionError) as raised:
        await pk.Retry(attempts=None, wait=1, stop=tenacity.stop_after_delay(4.5)).run(slow)
    assert now() == 5
    assert raised.value.__notes__ == ["gave up after 3 attempts in 5.0 s (stop)"]


def test_a_success_does_not_import_tenacity() -> None:
    import subprocess

    code = (
        "import sys, asyncio, prodkit as pk\n"
        "async def fine(): return 1\n"
        "asyncio.run(pk.Retry(attempts=3).run(fine))\n"
        "assert pk.Retry().call(int) == 0\n"
        "assert 'tenacity' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@virtual_time
async def test_answers_to_try_again_after() -> None:
    retry = pk.Retry(attempts=3, wait=1, result=lambda answer: answer == "later")
    assert await retry.run(Script("later", "later", "now")) == "now"
    assert await retry.run(Script("later", "later", "later")) == "later"
    assert await retry.run(Script("later", ConnectionError(), "now")) == "now"
    assert now() == 6
    script = Script("later", "now")
    assert pk.Retry(wait=0, result=lambda answer: answer == "later").call(script.now) == "now"


@virtual_time
async def test_its_events() -> None:
    runtime, seen = pk.Runtime(), []
    runtime.events.subscribe(seen.append)
    retry = pk.Retry(attempts=2, wait=1, runtime=runtime)

    async def fetch(script: Script) -> Any:
        return await script()

    await retry.run(fetch, Script(ConnectionError(), 1))
    with pytest.raises(ConnectionError):
        await retry(fetch)(Script(ConnectionError(), ConnectionError()))
    name = fetch.__qualname__
    scheduled = RetryScheduled(call=name, attempt=1, error="ConnectionError", wait=1.0)
    assert seen == [
        scheduled,
        scheduled,
        RetryGaveUp(call=name, attempt=2, error="ConnectionError", reason="attempts"),
    ]


@virtual_time
async def test_one_attempt_adds_no_note_and_one_error_object_gets_one() -> None:
    with pytest.raises(ConnectionError) as raised:
        await pk.Retry(attempts=1).run(Script(ConnectionError()))
    assert not hasattr(raised.value, "__notes__")
    same = ConnectionError()
    for _ in range(3):
        with pytest.raises(ConnectionError):
            await pk.Retry(attempts=2, wait=1).run(Script(same, same))
    assert same.__notes__ == ["gave up after 2 attempts, 1.0 s after the first failed"]


@virtual_time
async def test_a_stream_that_only_fails() -> None:
    begun = []

    async def items() -> AsyncIterator[int]:
        begun.append(now())
        raise ConnectionError
        yield 1

    with pytest.raises(ConnectionError) as raised:
        [item async for item in pk.Retry(attempts=3, wait=2).stream(items)]
    assert begun == [0, 2, 4]
    assert raised.value.__notes__ == ["gave up after 3 attempts, 4.0 s after the first failed"]


@virtual_time
async def test_in_a_pipeline_it_takes_the_runtime_and_keeps_its_own() -> None:
    own, given = pk.Runtime(), pk.Runtime()
    pipeline = pk.Pipeline(pk.Retry(), pk.Retry(nested=True, runtime=own), runtime=given)
    assert [policy.runtime for policy in pipeline.policies] == [given, own]


def test_nonsense_is_refused_together_with_the_values_seen() -> None:
    with pytest.raises(
        ValueError, match=r"attempts must .* 0; wait must .* -2; stop must .* 3; max_wait must .* -1"
    ):
        pk.Retry(attempts=0, max_wait=-1, wait=-2, stop=3)
    with pytest.raises(ValueError, match="attempts=None needs a stop"):
        pk.Retry(attempts=None)
    with pytest.raises(ValueError, match=r"wait must be a backoff.*'1s'"):
        pk.Retry(wait="1s")
    with pytest.raises(TypeError, match="on takes exception classes"):
        pk.Retry(on="ConnectionError")
    assert repr(pk.Retry(attempts=4)) == "Retry(attempts=4)"
