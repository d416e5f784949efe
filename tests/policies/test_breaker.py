"""The shells of CircuitBreaker: what users see of it beside the traps."""

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

import prodkit as pk
from prodkit.policies.events import (
    BreakerChanged,
    BreakerClosed,
    BreakerHalfOpened,
    BreakerIsolated,
    BreakerOpened,
    BreakerRejected,
)
from prodkit.policies.permit import Permit
from prodkit.testing import virtual_time


async def trip(breaker: pk.CircuitBreaker, up: Any, times: int = 2) -> None:
    for _ in range(times):
        with pytest.raises(up.Boom):
            await breaker.run(up, "bad")


def made(**options: Any) -> pk.CircuitBreaker:
    return pk.CircuitBreaker("b", **{"failures": 2, "open_for": 10.0, **options})


@virtual_time
async def test_its_events_tell_the_story(up) -> None:
    runtime, story = pk.Runtime(), []
    breaker = made(runtime=runtime)
    runtime.events.subscribe(story.append)
    await trip(breaker, up)
    with pytest.raises(pk.CircuitOpenError):
        await breaker.run(up)
    await asyncio.sleep(10)
    await breaker.run(up)
    breaker.isolate()
    with pytest.raises(pk.CircuitOpenError):
        breaker.call(int)
    breaker.reset()
    breaker.reset()
    said = [(type(event), getattr(event, "reason", getattr(event, "state", None))) for event in story]
    assert said == [
        (BreakerOpened, "2 failures in a row"),
        (BreakerRejected, "open"),
        (BreakerHalfOpened, "open for 10 s"),
        (BreakerClosed, "probes succeeded"),
        (BreakerIsolated, "isolated by hand"),
        (BreakerRejected, "isolated"),
        (BreakerClosed, "reset by hand"),
    ]
    assert story[0] == BreakerOpened(
        breaker="b", before="closed", after="open", reason="2 failures in a row", hold=10.0
    )
    assert all(isinstance(event, (BreakerChanged, BreakerRejected)) for event in story)


@virtual_time
async def test_state_is_settled_before_an_event_is_emitted_and_a_listener_may_use_the_breaker(up) -> None:
    runtime, states = pk.Runtime(), []
    breaker = made(runtime=runtime)

    def listener(event: object) -> None:
        states.append(breaker.state)
        breaker.reset()

    runtime.events.subscribe(listener, BreakerOpened)
    await trip(breaker, up)
    assert states == ["open"]
    assert breaker.state == "closed"


@virtual_time
async def test_a_refusal_says_what_when_and_pickles(up) -> None:
    breaker = made()
    await trip(breaker, up)
    await asyncio.sleep(4)
    with pytest.raises(pk.CircuitOpenError, match=r"^circuit 'b' is open: 2 failures in a row$") as refused:
        await breaker.run(up)
    copy = pickle.loads(pickle.dumps(refused.value))
    for error in (refused.value, copy):
        assert (error.breaker, error.retry_after) == ("b", 6.0)
    breaker.isolate()
    with pytest.raises(pk.CircuitOpenError, match="'b' is isolated: isolated by hand") as refused:
        breaker.acquire()
    assert refused.value.retry_after is None
    breaker.reset()
    await trip(breaker, up)
    await asyncio.sleep(10)
    breaker.acquire()
    with pytest.raises(pk.CircuitOpenError, match="is half open: its probes are in flight") as refused:
        await breaker.run(up)
    assert refused.value.retry_after == 10.0


@virtual_time
async def test_shadow_mode_refuses_nothing_and_emits_every_event(up) -> None:
    runtime, rejected = pk.Runtime(), []
    breaker = made(mode="shadow", runtime=runtime)
    runtime.events.subscribe(rejected.append, BreakerRejected)
    await trip(breaker, up)
    assert breaker.state == "open"
    assert await breaker.run(up) == "answer"
    assert breaker.call(int) == 0
    assert breaker.state == "open"
    assert rejected == [BreakerRejected(breaker="b", state="open", shadow=True)] * 2
    await asyncio.sleep(10)
    assert await breaker.run(up) == "answer"
    assert breaker.state == "closed"


@virtual_time
async def test_disabled_mode_does_nothing(up) -> None:
    breaker = made(mode="disabled")
    await trip(breaker, up, 10)
    assert breaker.state == "disabled"
    assert await breaker.run(up) == "answer"
    breaker.reset()
    assert breaker.state == "disabled"


@virtual_time
async def test_answers_may_be_failures(up) -> None:
    breaker = made(failed_result=lambda answer: answer == "sorry")

    async def sorry() -> str:
        return "sorry"

    assert await breaker.run(sorry) == "sorry"
    assert await breaker.run(up) == "answer"
    assert breaker.call(lambda: "sorry") == "sorry"
    assert breaker.state == "closed"
    assert await breaker.run(sorry) == "sorry"
    assert breaker.state == "open"


@virtual_time
async def test_a_predicate_that_raises_gives_the_probe_back(up) -> None:
    def broken(answer: object) -> bool:
        raise RuntimeError("broken predicate")

    breaker = made(failed_result=broken)
    await trip(breaker, up)
    await asyncio.sleep(10)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="broken predicate"):
            await breaker.run(up)
        assert breaker.state == "half_open"


@virtual_time
async def test_which_errors_count(up, outcome) -> None:
    def after(*errors: Exception, **options: Any) -> str:
        breaker = made(failures=1, **options)
        permit: Permit
        for error in errors:
            permit = breaker.acquire()
            permit.fail(error)
        return breaker.state

    assert after(ValueError()) == "open"
    assert after(ValueError(), on=ConnectionError) == "closed"
    assert after(ConnectionResetError(), on=ConnectionError) == "open"
    assert after(ValueError(), on=(KeyError, ValueError)) == "open"
    assert after(ValueError(), on=lambda error: "503" in str(error)) == "closed"
    assert after(ValueError("503"), on=lambda error: "503" in str(error)) == "open"
    assert after(ValueError(), ignore=ValueError) == "closed"
    assert after(KeyError(), ignore=(ValueError, KeyError)) == "closed"
    assert after(pk.RateLimitedError(), pk.BulkheadFullError()) == "closed"
    assert after(pk.CallTimeoutError(timeout=0.1)) == "open"
    assert after(pk.DeadlineExceededError(timeout=0.1)) == "closed"
    assert after(pk.DeadlineExceededError(timeout=0.5)) == "open"
    assert after(pk.DeadlineExceededError(timeout=0.1), min_caller_timeout=0.1) == "open"
    assert after(pk.DeadlineExceededError()) == "open"


@virtual_time
async def test_a_permit_counts_once() -> None:
    breaker = made(failures=1)
    permit = breaker.acquire()
    permit.succeed()
    permit.fail()
    permit.cancel()
    assert breaker.state == "closed"
    permit = breaker.acquire()
    permit.cancel()
    permit.fail()
    assert breaker.state == "closed"
    breaker.acquire().fail()
    assert breaker.state == "open"


@virtual_time
async def test_a_stream_is_judged_by_its_first_item_and_its_end(up) -> None:
    async def items(fail_at: int | None, hang: bool = False) -> AsyncIterator[int]:
        for number in range(3):
            if number == fail_at:
                raise up.Boom("broken off")
            if hang:
                await asyncio.sleep(1e9)
            yield number

    def half_open() -> pk.CircuitBreaker:
        breaker = made(failures=1)
        breaker.acquire().fail()
        breaker.circuit.until = 0.0
        return breaker

    breaker = half_open()
    assert [item async for item in breaker.stream(items, None)] == [0, 1, 2]
    assert breaker.state == "closed"

    breaker = half_open()
    with pytest.raises(up.Boom):
        [item async for item in breaker.stream(items, 2)]
    assert breaker.state == "open"

    breaker = half_open()
    stream: Any = breaker.stream(items, None)
    await anext(stream)
    assert breaker.state == "closed"  # it answered
    await stream.aclose()
    assert breaker.state == "closed"  # the reader had enough

    breaker = half_open()
    task = asyncio.ensure_future(anext(aiter(breaker.stream(items, None, hang=True))))
    await asyncio.sleep(1)
    assert breaker.circuit._probes != {}
    task.cancel()
    await asyncio.wait((task,))
    assert breaker.circuit._probes == {}
    assert breaker.state == "half_open"


@virtual_time
async def test_slow_calls_and_time_windows_in_the_async_shell(up) -> None:
    breaker = made(
        failures=None, failure_rate=None, slow_after=1.0, slow_call_rate=1.0, window_seconds=10, min_calls=3
    )
    for mode in (1, 1, 1):
        await breaker.run(up, mode)
    assert breaker.state == "open"
    breaker.reset()
    for mode in (1, 1, 0.5, 1):
        await breaker.run(up, mode)
    assert breaker.state == "closed"
    await asyncio.sleep(11)
    for mode in (1, 1, 1):
        await breaker.run(up, mode)
    assert breaker.state == "open"


@virtual_time
async def test_the_check(up) -> None:
    breaker = made()
    assert isinstance(breaker, pk.Check)
    assert (await breaker.check()).status == "up"
    await trip(breaker, up)
    verdict = await breaker.check()
    assert (verdict.status, verdict.reason) == ("degraded", "circuit open: 2 failures in a row")
    assert verdict.details == {"state": "open", "retry_after": 10.0}
    assert (await made(mode="disabled").check()).status == "up"


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"failures must be .*got 0; open_for must be .*got -3"):
        pk.CircuitBreaker("b", failures=0, open_for=-3)
    for options, match in (
        ({"mode": "off"}, "mode must be"),
        ({"on": "ValueError"}, "on takes exception classes or a predicate"),
        ({"ignore": (ValueError, 3)}, "ignore takes exception classes or a predicate"),
        ({"on": int}, "on takes exception classes"),
    ):
        with pytest.raises((ValueError, TypeError), match=match):
            pk.CircuitBreaker("b", **options)  # type: ignore[arg-type]
    for name in ("", None, 3):
        with pytest.raises((ValueError, TypeError), match="name must"):
            pk.CircuitBreaker(name)  # type: ignore[arg-type]
    assert repr(made()) == "CircuitBreaker('b', state='closed', mode='guard')"


class Others:
    """A SharedState as another process would use it."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.claims: list[float | None] = []
        self.on_opened: Callable[[float], None] = lambda seconds: None
        self.on_closed: Callable[[], None] = lambda: None

    def listen(self, breaker: str, opened: Callable[[float], None], closed: Callable[[], None]) -> None:
        assert breaker == "b"
        self.on_opened, self.on_closed = opened, closed

    def opened(self, breaker: str, seconds: float) -> None:
        self.told.append(("opened", seconds))

    def closed(self, breaker: str) -> None:
        self.told.append("closed")

    async def claim(self, breaker: str, seconds: float) -> float | None:
        self.told.append(("claim", seconds))
        await asyncio.sleep(0.01)
        return self.claims.pop(0) if self.claims else None


@virtual_time
async def test_processes_tell_each_other_and_one_of_them_probes(up) -> None:
    others = Others()
    breaker = made(shared=others, probe_timeout=7.0)
    await breaker.run(up)
    assert others.told == []
    await trip(breaker, up)
    assert others.told == [("opened", 10.0)]
    await asyncio.sleep(10)
    others.claims = [3.0]
    with pytest.raises(pk.CircuitOpenError) as refused:
        await breaker.run(up)
    assert refused.value.retry_after == 3.0
    assert others.told[1:] == [("claim", 7.0)]
    assert breaker.state == "open"
    await asyncio.sleep(3)
    assert await breaker.run(up) == "answer"
    assert others.told[2:] == [("claim", 7.0), "closed"]
    calls = up.calls
    others.on_opened(20.0)
    with pytest.raises(pk.CircuitOpenError):
        await breaker.run(up)
    others.on_closed()
    assert breaker.state == "closed"
    others.on_closed()
    assert up.calls == calls
    assert len(others.told) == 4  # what came from others is not sent to others again
    breaker.isolate()
    others.on_closed()
    assert breaker.state == "isolated"


@virtual_time
async def test_a_cancelled_claim_gives_the_probe_back(up) -> None:
    others = Others()
    breaker = made(shared=others)
    await trip(breaker, up)
    await asyncio.sleep(10)
    task = asyncio.ensure_future(breaker.run(up))
    await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait((task,))
    assert breaker.circuit._probes == {}
    assert await breaker.run(up) == "answer"


def test_sync_calls_of_a_slow_dependency_count(monkeypatch: pytest.MonkeyPatch) -> None:
    class Steps:
        now_ = 0.0

        def monotonic(self) -> float:
            return self.now_

    clock: Any = Steps()
    breaker = made(
        failures=None, slow_after=2.0, slow_call_rate=0.5, min_calls=2, runtime=pk.Runtime(clock=clock)
    )

    def slow() -> None:
        clock.now_ += 2.0

    breaker.call(slow)
    breaker.call(slow)
    assert breaker.state == "open"


def test_a_sync_probe_that_turns_out_to_be_async_is_one_probe() -> None:
    @virtual_time
    async def scenario() -> None:
        breaker = made(failures=1)
        answers = ["bad", "ok"]

        async def work() -> str:
            await asyncio.sleep(1)
            answer = answers.pop(0)
            if answer == "bad":
                raise ConnectionError
            return answer

        guarded = breaker(lambda: work())
        with pytest.raises(ConnectionError):
            await guarded()
        assert breaker.state == "open"
        await asyncio.sleep(10)
        assert await guarded() == "ok"
        assert breaker.state == "closed"

    scenario()


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "5", True])
def test_an_opening_by_hand_takes_seconds(seconds: Any) -> None:
    breaker = pk.CircuitBreaker("api")
    with pytest.raises((TypeError, ValueError), match="seconds"):
        breaker.trip(seconds)
    assert breaker.state == "closed"


def test_a_shared_state_without_its_methods_is_refused() -> None:
    with pytest.raises(ValueError, match="shared must be a SharedBreakers"):
        pk.CircuitBreaker("api", shared=cast("Any", 3))
