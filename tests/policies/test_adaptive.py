import asyncio
import math
import random

import pytest

from prodkit import BulkheadFullError, Deadline, DeadlineExceededError, Runtime
from prodkit.core.outcome import Outcome
from prodkit.policies.adaptive import AdaptiveLimit, Gradient
from prodkit.policies.events import LimitChanged
from prodkit.testing import virtual_time


def drive(
    gradient: Gradient, latency: float, *, inflight: int | None = None, seconds: float = 10.0, at: float = 0.0
) -> float:
    now = at
    while now < at + seconds:
        now += 0.05
        gradient.answered(now, latency, int(gradient.limit) if inflight is None else inflight)
    return now


def test_a_used_limit_grows_while_latency_stays() -> None:
    gradient = Gradient(initial=10, max_limit=50)
    drive(gradient, 0.1, seconds=30)
    assert gradient.limit > 25
    drive(gradient, 0.1, seconds=300, at=30)
    assert gradient.limit == 50


def test_an_unused_limit_does_not_grow() -> None:
    gradient = Gradient(initial=10)
    drive(gradient, 0.1, inflight=3, seconds=60)
    assert gradient.limit == 10


def test_queueing_latency_shrinks_it_and_health_brings_it_back() -> None:
    gradient = Gradient(initial=40)
    now = drive(gradient, 0.07, seconds=20)
    full = gradient.limit
    now = drive(gradient, 0.28, seconds=10, at=now)
    assert gradient.limit < full / 3
    small = gradient.limit
    drive(gradient, 0.07, seconds=20, at=now)
    assert gradient.limit > 2 * small


def test_it_stays_within_its_bounds() -> None:
    gradient = Gradient(initial=5, min_limit=2, max_limit=8)
    now = drive(gradient, 0.01, seconds=100)
    assert gradient.limit == 8
    for _ in range(100):
        now += 1
        gradient.overloaded(now)
    assert gradient.limit == 2


def test_overload_cuts_at_most_once_an_interval() -> None:
    gradient = Gradient(initial=10)
    assert gradient.overloaded(1.0)
    assert not gradient.overloaded(1.1)
    assert gradient.limit == pytest.approx(7)


@virtual_time
async def test_errors_and_cancellations_teach_nothing_timeouts_do() -> None:
    limit = AdaptiveLimit(initial=10)

    async def fails(error: BaseException) -> None:
        raise error

    with pytest.raises(ValueError, match="bad"):
        await limit.run(fails, ValueError("bad"))
    task = asyncio.create_task(limit.run(asyncio.sleep, 10))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert (limit.limit, limit.inflight) == (10, 0)
    with pytest.raises(TimeoutError):
        await limit.run(fails, TimeoutError())
    assert limit.limit == 7


def test_nonsense_is_refused_together() -> None:
    with pytest.raises(ValueError, match=r"initial.*got 500.*tolerance.*got 1"):
        AdaptiveLimit(initial=500, tolerance=1)


def test_the_first_answer_is_baseline_and_latency() -> None:
    gradient = Gradient(initial=10)
    assert math.isnan(gradient.baseline)
    assert math.isnan(gradient.latency)
    assert not gradient.answered(0.0, 0.2, 10)  # 10.6 calls at once are ten
    assert (gradient.baseline, gradient.latency) == (0.2, 0.2)


def test_the_baseline_rises_slowly_and_falls_ten_times_as_fast() -> None:
    up, down = Gradient(initial=10), Gradient(initial=10)
    for gradient, latency in ((up, 0.3), (down, 0.1)):
        gradient.answered(100.0, 0.2, 0)
        gradient.answered(103.0, latency, 0)
    assert up.baseline == pytest.approx(0.2 + (1 - math.exp(-3 / 300)) * 0.1)
    assert down.baseline == pytest.approx(0.2 - (1 - math.exp(-3 / 30)) * 0.1)
    down.answered(106.0, 0.1, 0)
    assert down.baseline == pytest.approx(0.1 + math.exp(-3 / 30) * math.exp(-3 / 30) * 0.1), (
        "from answer to answer"
    )


def test_the_recent_latency_follows_within_a_second_and_by_a_tenth_at_least() -> None:
    gradient = Gradient(initial=10)
    gradient.answered(100.0, 0.2, 0)
    gradient.answered(100.0, 1.2, 0)
    assert gradient.latency == pytest.approx(0.3)
    assert gradient.baseline == pytest.approx(0.2, abs=1e-5)
    gradient.answered(101.0, 0.3 + 1.0, 0)
    assert gradient.latency == pytest.approx(0.3 + (1 - math.exp(-1)))


def test_one_step_of_the_limit_in_numbers() -> None:
    steady = Gradient(initial=10, max_limit=100)
    assert not steady.answered(1.0, 0.1, 10)
    assert steady.limit == pytest.approx(10 + 0.3 * 2), "as fast as ever: headroom, smoothed"
    assert not steady.answered(1.2, 0.1, 10), "too soon"
    assert steady.limit == pytest.approx(10.6)
    assert steady.answered(1.25, 0.1, 10)
    assert steady.limit == pytest.approx(11.2)

    slow = Gradient(initial=40)
    slow.answered(0.0, 0.1, 40)
    limit = slow.limit
    slow.baseline, slow.latency = 0.1, 0.25
    slow._heard = 1.0
    slow.answered(1.0, 0.25, 40)
    gradient = 2 * slow.baseline / slow.latency
    assert gradient == pytest.approx(0.8, abs=0.01)
    assert slow.limit == pytest.approx(limit + 0.3 * (gradient * limit + 2 - limit))

    slow.latency = 99.0
    limit = slow.limit
    slow.answered(2.0, 99.0, 40)
    assert slow.limit == pytest.approx(limit + 0.3 * (0.5 * limit + 2 - limit)), "never by more than half"


def test_half_used_is_used() -> None:
    for inflight, limit in ((5, 10.6), (4, 10.0)):
        gradient = Gradient(initial=10)
        gradient.answered(0.0, 0.1, inflight)
        assert gradient.limit == pytest.approx(limit)


def test_an_unused_limit_stays() -> None:
    gradient = Gradient(initial=2)
    gradient.answered(0.0, 0.1, 0)
    gradient.answered(1.0, 0.1, 0)
    assert gradient.limit == 2


def test_answers_in_no_time_at_all_are_health() -> None:
    gradient = Gradient(initial=10)
    gradient.answered(0.0, 0.0, 10)
    gradient.answered(1.0, 0.0, 10)
    assert gradient.limit == pytest.approx(11.2)


def test_the_busiest_moment_since_the_last_move_counts() -> None:
    gradient = Gradient(initial=10)
    gradient.answered(0.0, 0.1, 0)
    gradient.answered(0.1, 0.1, 9)
    gradient.answered(0.2, 0.1, 1)
    gradient.answered(0.3, 0.1, 1)
    assert gradient.limit == pytest.approx(10.6)
    gradient.answered(0.6, 0.1, 1)
    assert gradient.limit == pytest.approx(10.6), "what was before the last move is forgotten"
    gradient.answered(0.7, 0.1, 9)
    assert gradient.overloaded(0.9)
    before = gradient.limit
    gradient.answered(1.2, 0.1, 1)
    assert gradient.limit == before


def test_overload_says_whether_the_limit_moved() -> None:
    gradient = Gradient(initial=2, min_limit=1)
    assert gradient.overloaded(1.0)
    assert gradient.limit == pytest.approx(1.4)
    assert not gradient.overloaded(1.25), "1.4 and 1.0 are the same number of calls"
    assert gradient.limit == 1.0
    assert not gradient.overloaded(1.5)


@virtual_time
async def test_a_grown_limit_admits_the_waiting_and_emits_an_event() -> None:
    runtime, seen = Runtime(), []
    runtime.events.subscribe(seen.append)
    limit = AdaptiveLimit(name="s", initial=1, runtime=runtime)
    assert (limit.limit, limit.inflight) == (1, 0)
    tasks = [asyncio.create_task(limit.run(asyncio.sleep, 0.3)) for _ in range(5)]
    await asyncio.sleep(0.5)  # the first answer moved the limit to 1.6
    assert (limit.limit, limit.inflight, limit.waiting) == (1, 1, 3)
    assert not seen
    await asyncio.sleep(0.2)  # the second to 2.2
    assert (limit.limit, limit.inflight, limit.waiting) == (2, 2, 1)
    changed = seen[0]
    assert isinstance(changed, LimitChanged)
    assert (changed.limiter, changed.limit, changed.baseline) == ("s", 2, limit.gradient.baseline)
    assert changed.name == "limit.changed"
    assert repr(limit).startswith("AdaptiveLimit(name='s', limit=2, inflight=")
    await asyncio.gather(*tasks)


@virtual_time
async def test_no_caller_waits_for_a_slot_that_leaves_no_time_for_an_answer() -> None:
    """Answers take two seconds, so a place is of no use three seconds before the deadline."""
    limit, loop = AdaptiveLimit(initial=1, max_limit=1), asyncio.get_running_loop()
    assert await limit.run(asyncio.sleep, 2, "answer") == "answer"
    holder = asyncio.create_task(limit.run(asyncio.sleep, 10))
    await asyncio.sleep(0)
    began = loop.time()
    with Deadline.after(4), pytest.raises(BulkheadFullError, match="no slot became free in time"):
        await limit.run(asyncio.sleep, 1)
    assert loop.time() - began == pytest.approx(1)
    holder.cancel()
    await asyncio.wait([holder])


@virtual_time
async def test_before_anything_is_known_the_deadline_itself_is_the_limit() -> None:
    limit, loop = AdaptiveLimit(initial=1, max_limit=1, queue_timeout=9), asyncio.get_running_loop()
    holder = asyncio.create_task(limit.run(asyncio.sleep, 10))
    await asyncio.sleep(0)
    with Deadline.after(4), pytest.raises(BulkheadFullError):
        await limit.run(asyncio.sleep, 1)
    assert loop.time() == 4
    holder.cancel()
    await asyncio.wait([holder])


@virtual_time
async def test_the_newest_is_served_first_and_the_oldest_is_refused() -> None:
    limit, served = AdaptiveLimit(initial=1, max_limit=1, max_queue=2), []

    async def work(name: int) -> None:
        served.append(name)
        await asyncio.sleep(1)

    tasks = []
    for name in range(4):
        tasks.append(asyncio.create_task(limit.run(work, name)))
        await asyncio.sleep(0)
    await asyncio.wait(tasks)
    assert served == [0, 3, 2]
    assert isinstance(tasks[1].exception(), BulkheadFullError)


@virtual_time
async def test_the_deadline_ends_a_call_and_teaches() -> None:
    limit = AdaptiveLimit(initial=10)
    with Deadline.after(2), pytest.raises(DeadlineExceededError):
        await limit.run(asyncio.sleep, 100)
    assert (asyncio.get_running_loop().time(), limit.limit, limit.inflight) == (2, 7, 0)


@virtual_time
async def test_you_say_what_overload_is() -> None:
    limit = AdaptiveLimit(initial=10, overloaded=lambda error: isinstance(error, KeyError))

    async def fails(error: Exception) -> None:
        raise error

    with pytest.raises(TimeoutError):
        await limit.run(fails, TimeoutError())
    assert limit.limit == 10
    with pytest.raises(KeyError):
        await limit.run(fails, KeyError())
    assert limit.limit == 7


@virtual_time
async def test_the_classifier_decides_by_default() -> None:
    limit = AdaptiveLimit(initial=10, classify=lambda error: Outcome.NEUTRAL if error.args == (1,) else None)

    async def fails(error: Exception) -> None:
        raise error

    for error, expected in ((TimeoutError(1), 10), (ConnectionError(), 10), (TimeoutError(2), 7)):
        with pytest.raises(type(error)):
            await limit.run(fails, error)
        assert limit.limit == expected


@pytest.mark.parametrize(
    "fine",
    [
        {"min_limit": 1, "initial": 1, "max_limit": 1},
        {"max_queue": 0, "queue_timeout": 0},
        {"tolerance": 1.01, "headroom": 0.01},
    ],
)
def test_the_edges_are_allowed(fine: dict[str, float]) -> None:
    AdaptiveLimit(**fine)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"min_limit": 0}, "min_limit must be .*, got 0"),
        ({"name": ""}, "name must"),
        ({"max_limit": 0}, "max_limit must be .*, got 0"),
        ({"max_limit": 0.5}, "max_limit must be .*, got 0.5"),
        ({"initial": "x"}, "initial must be .*, got 'x'"),
        ({"overloaded": 3}, "overloaded must be .*, got 3"),
        ({"classify": 3}, "classify must be .*, got 3"),
        ({"priority": 3}, "priority must be .*, got 3"),
        ({"initial": 0}, "initial must lie between"),
        ({"initial": 20, "max_limit": 19}, "initial must lie between"),
        ({"max_queue": -1}, "max_queue must be .*, got -1"),
        ({"queue_timeout": -1}, "queue_timeout must be .*, got -1"),
        ({"queue_timeout": math.nan}, "queue_timeout must be .*, got nan"),
        ({"tolerance": 1}, "tolerance must be .*, got 1"),
        ({"headroom": 0}, "headroom must be .*, got 0"),
    ],
)
def test_each_nonsense_is_named(wrong: dict[str, float], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        AdaptiveLimit(**wrong)  # type: ignore[arg-type]


@virtual_time
async def test_it_finds_the_capacity_of_a_dependency() -> None:
    """Ten workers of 0.1 s behind a queue, asked 200 times a second: twice what they can do."""
    rng, workers, limit = random.Random(3), asyncio.Semaphore(10), AdaptiveLimit(initial=50)
    latencies: list[float] = []
    time = asyncio.get_running_loop().time

    async def upstream() -> None:
        began = time()
        async with workers:
            await asyncio.sleep(0.1)
        latencies.append(time() - began)

    async def user() -> bool:
        with Deadline.after(1):
            try:
                await limit.run(upstream)
            except BulkheadFullError:
                return False
            return True

    users = []
    for _ in range(4000):
        await asyncio.sleep(rng.expovariate(200))
        users.append(asyncio.create_task(user()))
    answered = sum(await asyncio.gather(*users))
    assert answered > 0.9 * 2000
    latencies.sort()
    assert latencies[len(latencies) // 2] < 0.25, "the queue is kept in front, not inside"
    assert (limit.inflight, limit.waiting) == (0, 0)
