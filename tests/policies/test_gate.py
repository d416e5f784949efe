import asyncio
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from prodkit import (
    Bulkhead,
    CircuitBreaker,
    CircuitOpenError,
    Deadline,
    DeadlineExceededError,
    RateLimitedError,
    Runtime,
)
from prodkit.core.outcome import Outcome
from prodkit.policies import RetryAfterGate, retry_after_of
from prodkit.policies.events import GateClosed, GatePassed
from prodkit.testing import virtual_time

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class Throttled(Exception):
    def __init__(self, retry_after: object = None) -> None:
        super().__init__("429")
        self.retry_after = retry_after


class Response:
    def __init__(self, **headers: str) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class HttpError(Exception):
    def __init__(self, response: Response) -> None:
        super().__init__("429")
        self.response = response


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [
        (3, 3.0),
        (0.5, 0.5),
        (timedelta(minutes=2), 120.0),
        ("3", 3.0),
        (" 1.5 ", 1.5),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30.0),
        ("Sun, 01 Mar 2026 12:00:10 -0000", 10.0),
        (format_datetime(NOW - timedelta(seconds=30), usegmt=True), 0.0),
        (-4, 0.0),
        (None, None),
        ("soon", None),
        ("", None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        ("inf", None),
        (object(), None),
    ],
)
def test_retry_after_in_all_its_forms(hint: object, seconds: float | None) -> None:
    assert retry_after_of(Throttled(hint), NOW) == seconds


def test_retry_after_of_a_response() -> None:
    assert retry_after_of(HttpError(Response(retry_after="7")), NOW) == 7
    assert retry_after_of(HttpError(Response(Retry_After="8")), NOW) == 8
    assert retry_after_of(HttpError(Response()), NOW) is None
    assert retry_after_of(ValueError(), NOW) is None


class Quota:
    """Refuses everything until `opens`, and remembers who came when."""

    def __init__(self, opens: float) -> None:
        self.opens = opens
        self.came: list[float] = []

    async def __call__(self) -> int:
        now = asyncio.get_running_loop().time()
        self.came.append(now)
        await asyncio.sleep(0)
        if now < self.opens:
            raise Throttled(self.opens - now)
        return len(self.came)


@virtual_time
async def test_one_refusal_holds_everybody_back_and_then_they_go_at_a_pace() -> None:
    gate, quota = RetryAfterGate("q", margin=0), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    assert gate.not_before == 10
    await asyncio.gather(*(gate.run(quota) for _ in range(4)))
    assert quota.came[0] == 0
    assert quota.came[1] == 10
    gaps = [after - before for before, after in zip(quota.came[1:], quota.came[2:], strict=False)]
    assert gaps == pytest.approx([1.0, 1.0, 1.0], rel=0.05)


@virtual_time
async def test_a_margin_is_added() -> None:
    gate, quota = RetryAfterGate("q", margin=0.1), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    assert gate.not_before == pytest.approx(11)


@virtual_time
async def test_a_wait_that_would_be_too_long_is_refused_at_once() -> None:
    gate, quota = RetryAfterGate("openai", queue_timeout=5, margin=0), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    with pytest.raises(RateLimitedError, match="openai is throttled: the next turn is in 10 s") as refused:
        await gate.run(quota)
    assert refused.value.retry_after == 10
    assert refused.value.limit == "openai"
    await asyncio.sleep(5)
    await gate.run(quota)
    assert quota.came == [0, 10]


@virtual_time
async def test_a_wait_beyond_the_deadline_is_refused_at_once() -> None:
    gate, quota = RetryAfterGate(margin=0), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    with Deadline.after(10), pytest.raises(RateLimitedError, match="the dependency is throttled"):
        await gate.run(quota)
    with Deadline.after(10.5):
        await gate.run(quota)
    assert asyncio.get_running_loop().time() == 10


@virtual_time
async def test_a_new_refusal_sends_the_waiting_back_to_wait() -> None:
    gate, quota = RetryAfterGate(margin=0), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    waiting = asyncio.ensure_future(gate.run(quota))
    await asyncio.sleep(9)
    gate.close(11)
    await waiting
    assert quota.came == [0, 20]


@virtual_time
async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    gate, quota = RetryAfterGate(margin=0), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    first, second = (asyncio.ensure_future(gate.run(quota)) for _ in range(2))
    await asyncio.sleep(1)
    second.cancel()
    await asyncio.wait((second,))
    third = asyncio.ensure_future(gate.run(quota))
    await asyncio.gather(first, third)
    assert quota.came == [0, 10, pytest.approx(11)]


@virtual_time
async def test_streams_close_the_gate_too() -> None:
    gate = RetryAfterGate(margin=0)

    async def items(fail: bool) -> AsyncIterator[int]:
        yield 1
        if fail:
            raise Throttled(4)

    with pytest.raises(Throttled):
        [item async for item in gate.stream(items, True)]
    assert [item async for item in gate.stream(items, False)] == [1]
    assert asyncio.get_running_loop().time() == 4


@virtual_time
async def test_events() -> None:
    runtime, seen = Runtime(), []
    gate, quota = RetryAfterGate("q", margin=0, runtime=runtime), Quota(opens=10)
    runtime.events.subscribe(seen.append)
    with pytest.raises(Throttled):
        await gate.run(quota)
    await gate.run(quota)
    assert seen == [GateClosed(gate="q", seconds=10), GatePassed(gate="q", waited=10)]


@virtual_time
async def test_errors_without_a_hint_leave_it_open() -> None:
    gate = RetryAfterGate()

    async def broken(hint: object) -> None:
        raise Throttled(hint)

    for hint in (None, 0, "never"):
        with pytest.raises(Throttled):
            await gate.run(broken, hint)
    assert gate.not_before == -float("inf")


def test_wrong_use() -> None:
    with pytest.raises(ValueError, match=r"queue_timeout must.*-1.*max_queue must.*-1.*margin must.*2"):
        RetryAfterGate(queue_timeout=-1, max_queue=-1, margin=2)
    with pytest.raises(TypeError, match="queues tasks"):
        RetryAfterGate()(len)
    assert repr(RetryAfterGate("q")) == "RetryAfterGate('q')"


@pytest.mark.parametrize(
    "hint",
    [10**400, "9" * 5000, "Sun, 01 Mar 99999 12:00:10 GMT", "Mon, 99 Jan 2026 99:99:99 GMT", "\x00", "nan"],
)
def test_absurd_hints_are_none(hint: object) -> None:
    assert retry_after_of(Throttled(hint), NOW) is None


@given(st.one_of(st.text(), st.integers(), st.floats(), st.timedeltas(), st.dates(), st.binary()))
def test_no_hint_breaks_it(hint: object) -> None:
    seconds = retry_after_of(Throttled(hint), NOW)
    assert seconds is None or 0 <= seconds < float("inf")


@virtual_time
async def test_a_refusal_by_a_policy_further_in_does_not_close_the_gate() -> None:
    gate = RetryAfterGate()

    async def refused() -> None:
        raise CircuitOpenError("open", retry_after=300)

    with pytest.raises(CircuitOpenError):
        await gate.run(refused)
    assert gate.not_before == -float("inf")


@virtual_time
async def test_without_waiters_no_timer_is_left() -> None:
    gate, loop = RetryAfterGate(margin=0), asyncio.get_running_loop()
    gate.close(50)
    task = asyncio.ensure_future(gate.run(asyncio.sleep, 0))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait((task,))
    assert not [each for each in loop._scheduled if not each.cancelled()]  # type: ignore[attr-defined]
    await gate.run(asyncio.sleep, 0)
    assert loop.time() == 50


def test_a_gate_outlives_the_loop_on_which_it_was_waited_for() -> None:
    """Under pytest, or several asyncio.run, a gate of a module meets one loop after another."""
    gate = RetryAfterGate(margin=0)
    dead = asyncio.new_event_loop()
    gate.close(0.3)
    task = dead.create_task(gate.run(asyncio.sleep, 0))
    dead.run_until_complete(asyncio.sleep(0))
    dead.close()  # what ran on it was not cancelled
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    assert asyncio.run(asyncio.wait_for(gate.run(asyncio.sleep, 0, "served"), 5)) == "served"


@virtual_time
async def test_the_deadline_ends_a_call_that_passed() -> None:
    with Deadline.after(1), pytest.raises(DeadlineExceededError):
        await RetryAfterGate().run(asyncio.sleep, 50)
    assert asyncio.get_running_loop().time() == 1


@virtual_time
async def test_a_full_line_and_who_could_not_use_its_turn() -> None:
    gate = RetryAfterGate("q", margin=0, max_queue=1, queue_timeout=100)
    await gate.run(asyncio.sleep, 10)  # it answers in ten seconds: one tenth of that is remembered, times 1.5
    gate.close(20)
    waiting = asyncio.ensure_future(gate.run(asyncio.sleep, 0))
    await asyncio.sleep(0)
    with pytest.raises(RateLimitedError):
        await gate.run(asyncio.sleep, 0)
    with Deadline.after(21.4), pytest.raises(RateLimitedError):
        await gate.run(asyncio.sleep, 0)
    await waiting
    assert asyncio.get_running_loop().time() == 30


@virtual_time
async def test_a_turn_given_to_one_who_is_cancelled_goes_to_the_next() -> None:
    gate, quota = RetryAfterGate(margin=0), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    first, second = (asyncio.ensure_future(gate.run(quota)) for _ in range(2))
    loop = asyncio.get_running_loop()
    await asyncio.sleep(1)
    loop.call_at(10, first.cancel)  # after the gate's own timer of the same instant: the turn has just come
    await asyncio.wait((first, second))
    assert first.cancelled()
    assert quota.came == [0, pytest.approx(10)]
    assert not [each for each in loop._scheduled if not each.cancelled()]  # type: ignore[attr-defined]


@virtual_time
async def test_what_a_call_returns_comes_through_and_raises_the_pace() -> None:
    gate, quota = RetryAfterGate("q", margin=0), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    await asyncio.sleep(14)
    before = gate._pacing.rate
    assert before is not None
    assert await gate.run(quota) == 2
    assert gate._pacing.rate is not None
    assert gate._pacing.rate > before
    raised = gate._pacing.rate

    async def items() -> AsyncIterator[int]:
        await asyncio.sleep(1)
        yield 1

    assert [item async for item in gate.stream(items)] == [1]
    assert gate._pacing.rate is None or gate._pacing.rate > raised


@virtual_time
async def test_a_turn_that_leaves_no_time_for_an_answer_is_not_waited_for() -> None:
    gate = RetryAfterGate(margin=0)
    for _ in range(60):
        await gate.run(asyncio.sleep, 2.0)  # answers take two seconds: the average comes near that
    assert gate._latency == pytest.approx(2.0, abs=0.01)
    gate.close(5.0)
    with Deadline.after(7.9), pytest.raises(RateLimitedError) as refused:
        await gate.run(asyncio.sleep, 0)
    assert refused.value.retry_after == pytest.approx(5.0)
    with Deadline.after(8.1):
        await gate.run(asyncio.sleep, 0)
    assert gate._latency == pytest.approx(1.8, abs=0.01)


@virtual_time
async def test_times_are_counted_from_the_call() -> None:
    runtime, seen = Runtime(), []
    gate = RetryAfterGate("q", margin=0, queue_timeout=30, runtime=runtime)
    runtime.events.subscribe(seen.append, GatePassed)
    await asyncio.sleep(100)
    gate.close(10)
    await gate.run(asyncio.sleep, 0)
    assert seen == [GatePassed(gate="q", waited=10)]
    gate.close(31)
    with pytest.raises(RateLimitedError) as refused:
        await gate.run(asyncio.sleep, 0)
    assert refused.value.retry_after == 31


def test_options_at_their_edges() -> None:
    RetryAfterGate(queue_timeout=0, max_queue=0, margin=0)
    RetryAfterGate(margin=1)
    for options in ({"queue_timeout": -0.1}, {"max_queue": -1}, {"margin": -0.1}, {"margin": 1.1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            RetryAfterGate(**options)  # type: ignore[arg-type]


@virtual_time
async def test_a_turn_too_near_the_deadline_for_the_usual_answer_is_refused() -> None:
    gate, loop = RetryAfterGate(margin=0), asyncio.get_running_loop()
    await asyncio.sleep(100)
    for _ in range(2):
        await gate.run(asyncio.sleep, 10)  # remembered: 1.0 s, then 1.9 s; times 1.5 that is 2.85 s
    gate.close(20)
    with Deadline.after(22.8), pytest.raises(RateLimitedError) as refused:
        await gate.run(asyncio.sleep, 0)
    assert refused.value.retry_after == 20
    assert loop.time() == 120
    with Deadline.after(22.9):
        await gate.run(asyncio.sleep, 0)
    assert loop.time() == 140


@virtual_time
async def test_a_waiter_that_is_refused_learns_the_remaining_wait() -> None:
    runtime, seen = Runtime(), []
    gate, loop = RetryAfterGate("q", margin=0, runtime=runtime), asyncio.get_running_loop()
    await asyncio.sleep(100)
    gate.close(5)
    waiting = asyncio.ensure_future(gate.run(asyncio.sleep, 0))
    await asyncio.sleep(1)
    gate.close(1000)
    with pytest.raises(RateLimitedError) as refused:
        await waiting
    assert loop.time() == 160, "queue_timeout"
    assert refused.value.retry_after == pytest.approx(941)
    runtime.events.subscribe(seen.append)
    gate = RetryAfterGate("q", margin=0, runtime=runtime)
    gate.close(3)
    await gate.run(asyncio.sleep, 0)
    assert seen == [GateClosed(gate="q", seconds=3), GatePassed(gate="q", waited=3)]


@virtual_time
async def test_what_was_asked_before_sets_the_pace_after() -> None:
    gate, came, loop = RetryAfterGate(margin=0), [], asyncio.get_running_loop()

    async def call() -> None:
        came.append(loop.time())
        await asyncio.sleep(0)

    for _ in range(20):
        await gate.run(call)
        await asyncio.sleep(0.1)
    gate.close(1)
    came.clear()
    await asyncio.gather(*(gate.run(call) for _ in range(3)))
    assert came == pytest.approx([3.0, 3.2, 3.4], abs=0.02), "ten a second before, five after"


@pytest.mark.parametrize("stream", [False, True])
@virtual_time
async def test_good_answers_set_it_free_again(stream: bool) -> None:
    gate = RetryAfterGate(margin=0)

    async def items() -> AsyncIterator[int]:
        yield 1

    gate.close(1)
    for _ in range(40):
        if stream:
            assert [item async for item in gate.stream(items)] == [1]
        else:
            await gate.run(asyncio.sleep, 0)
    assert 5 < asyncio.get_running_loop().time() < 10, "at one a second it would be forty"


@virtual_time
async def test_half_a_second_is_a_hint_and_what_the_error_says_itself_comes_first() -> None:
    gate = RetryAfterGate(margin=0)

    class Both(HttpError):
        retry_after = 0.5

    async def call() -> None:
        raise Both(Response(retry_after="7"))

    with pytest.raises(Both):
        await gate.run(call)
    assert gate.not_before == 0.5


@virtual_time
async def test_one_timer_serves_the_whole_line() -> None:
    gate, loop = RetryAfterGate(margin=0, queue_timeout=1e6), asyncio.get_running_loop()
    gate.close(50)

    def timers() -> int:
        return len([each for each in loop._scheduled if not each.cancelled()])  # type: ignore[attr-defined]

    tasks = [asyncio.ensure_future(gate.run(asyncio.sleep, 0)) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert timers() == 3 + 1, "one a caller for its own patience, and one for the turns"
    loop.call_at(50, tasks[0].cancel)
    await asyncio.wait(tasks)
    assert timers() == 0


def test_waiters_of_a_dead_loop_are_not_counted_as_being_ahead() -> None:
    gate = RetryAfterGate(margin=0, queue_timeout=2)
    dead = asyncio.new_event_loop()
    gate.close(0.2)
    tasks = [dead.create_task(gate.run(asyncio.sleep, 0)) for _ in range(2)]
    dead.run_until_complete(asyncio.sleep(0))
    dead.close()
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    assert asyncio.run(asyncio.wait_for(gate.run(asyncio.sleep, 0, "served"), 5)) == "served"


def test_edges_are_allowed_and_its_place_is_between_breaker_and_limits() -> None:
    RetryAfterGate(queue_timeout=0, max_queue=0, margin=0)
    RetryAfterGate(margin=1)
    assert CircuitBreaker.rank < RetryAfterGate.rank < Bulkhead.rank


class StoppedClock:
    """A clock for threads, on which blocking takes no real time."""

    def __init__(self) -> None:
        self.at = 100.0
        self.blocked: list[float] = []

    def monotonic(self) -> float:
        return self.at

    def now(self) -> datetime:
        return NOW

    async def sleep(self, seconds: float) -> None:
        self.block(seconds)

    def block(self, seconds: float) -> None:
        self.blocked.append(round(seconds, 6))
        self.at += seconds


def of_threads(**options: float) -> tuple[RetryAfterGate, StoppedClock, list[GatePassed]]:
    clock, passed = StoppedClock(), []
    runtime = Runtime(clock=clock)
    runtime.events.subscribe(passed.append, GatePassed)
    return RetryAfterGate("api", margin=0, runtime=runtime, **options), clock, passed


def test_a_thread_passes_an_open_gate_at_once() -> None:
    gate, clock, passed = of_threads()
    for _ in range(3):
        gate.enter_sync()
        gate.succeeded()
    assert (clock.blocked, passed) == ([], [])


def test_threads_wait_for_the_time_that_was_named_and_then_take_turns() -> None:
    gate, clock, passed = of_threads()
    for _ in range(10):
        gate.enter_sync()
    gate.failed(Throttled(2.0))
    assert gate.not_before == 102.0
    gate.enter_sync()
    assert (clock.blocked, clock.at) == ([2.0], 102.0)
    assert [round(each.waited, 6) for each in passed] == [2.0]
    gate.enter_sync()  # its turn comes after that of the one before: it was reserved
    assert len(clock.blocked) == 2
    assert clock.blocked[1] > 0


def test_a_thread_whose_turn_comes_too_late_is_refused_and_takes_none() -> None:
    gate, clock, passed = of_threads(queue_timeout=5)
    gate.close(5.5)
    with pytest.raises(RateLimitedError) as raised:
        gate.enter_sync()
    assert (raised.value.retry_after, clock.blocked, passed) == (pytest.approx(5.5), [], [])
    clock.at += 0.5
    gate.enter_sync()  # exactly as long as it may wait
    assert clock.blocked == [5.0]


def test_a_thread_with_a_deadline_is_refused_when_its_turn_is_of_no_use() -> None:
    gate, clock, _ = of_threads()
    gate.close(3.0)
    gate._latency = 1.0  # usual answers take that long: a turn that leaves less than 1.5 s is of no use
    for seconds, passes in ((4.4, False), (4.5, False), (4.6, True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Deadline, "instant", staticmethod(lambda at=clock.at + seconds: at))
            if passes:
                gate.enter_sync()
            else:
                with pytest.raises(RateLimitedError):
                    gate.enter_sync()
    assert clock.blocked == [3.0]


def test_a_throttling_without_a_time_closes_for_a_second_or_as_told() -> None:
    class Busy(Exception):
        outcome = Outcome.THROTTLED

    for options, expected in (({}, 101.0), ({"unhinted": 4.0}, 104.0), ({"unhinted": 0.0}, -math.inf)):
        gate, _, _ = of_threads(**options)
        gate.failed(Busy())
        assert gate.not_before == expected
    gate, _, _ = of_threads()
    gate.failed(KeyError())
    gate.failed(RateLimitedError("ours", retry_after=9))
    assert gate.not_before == -math.inf


@virtual_time
async def test_blocks_teach_the_gate_as_calls_do() -> None:
    gate = RetryAfterGate(margin=0)
    with pytest.raises(Throttled):
        async with gate:
            raise Throttled(3.0)
    assert gate.not_before == 3.0
    cut = gate._pacing.rate
    with pytest.raises(asyncio.CancelledError):
        async with gate:
            raise asyncio.CancelledError
    assert gate._pacing.rate == cut
    assert gate.not_before == 3.0
    for _ in range(20):
        async with gate:
            pass
    assert gate._pacing.rate is None or gate._pacing.rate != cut


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": 3}, "name must"),
        ({"unhinted": -1}, "unhinted must"),
        ({"hint": 3}, "hint must"),
        ({"classify": 3}, "classify must"),
    ],
)
def test_wrong_options_are_named(wrong: dict[str, object], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        RetryAfterGate(**wrong)  # type: ignore[arg-type]


@virtual_time
async def test_it_counts_who_waits() -> None:
    gate = RetryAfterGate(margin=0)
    assert gate.waiting == 0
    gate.close(2)
    tasks = [asyncio.ensure_future(gate.enter()) for _ in range(3)]
    await asyncio.sleep(1)
    assert gate.waiting == 3
    await asyncio.gather(*tasks)
    assert gate.waiting == 0


@virtual_time
async def test_a_gate_needs_no_name_and_speaks_of_the_dependency_then() -> None:
    gate = RetryAfterGate(queue_timeout=0)
    gate.close(10)
    with pytest.raises(RateLimitedError, match="the dependency is throttled") as refused:
        await gate.enter()
    assert refused.value.limit == ""


@virtual_time
async def test_an_infinite_queue_timeout_leaves_only_the_deadline() -> None:
    gate = RetryAfterGate("g", queue_timeout=math.inf)
    gate.close(86_400)
    with pytest.raises(RateLimitedError), Deadline.after(3600):
        await gate.enter()
    await gate.enter()
    assert asyncio.get_running_loop().time() >= 86_400


@virtual_time
async def test_only_errors_of_the_call_close_it_and_no_cancelled_block() -> None:
    gate = RetryAfterGate("g", hint=lambda error, now: 5.0)

    async def block() -> None:
        async with gate:
            await asyncio.sleep(60)

    task = asyncio.ensure_future(block())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait((task,))
    before = asyncio.get_running_loop().time()
    async with gate:
        assert asyncio.get_running_loop().time() == before


@virtual_time
async def test_the_deadline_ends_a_stream() -> None:
    async def items() -> AsyncIterator[int]:
        while True:
            await asyncio.sleep(2)
            yield 1

    with pytest.raises(DeadlineExceededError), Deadline.after(5):
        async for _ in RetryAfterGate("g").stream(items):
            pass
    assert asyncio.get_running_loop().time() == 5


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "5", True])
def test_closing_by_hand_takes_seconds(seconds: Any) -> None:
    gate = RetryAfterGate("api")
    before = gate.not_before
    with pytest.raises((TypeError, ValueError), match="seconds"):
        gate.close(seconds)
    assert gate.not_before == before


@virtual_time
async def test_closing_by_hand_for_no_time_holds_nobody() -> None:
    gate = RetryAfterGate("api")
    gate.close(0)
    await gate.enter()
    assert asyncio.get_running_loop().time() == 0
