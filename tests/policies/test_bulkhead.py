import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from prodkit import BulkheadFullError, Deadline, DeadlineExceededError, Runtime
from prodkit.policies.adaptive import AdaptiveLimit
from prodkit.policies.bulkhead import Bulkhead, Limiter
from prodkit.policies.events import BulkheadRejected
from prodkit.policies.queueing import Slots
from prodkit.testing import virtual_time


class Work:
    """Counts who runs at once and in which order they started."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.started: list[Any] = []

    async def __call__(self, name: Any, seconds: float = 1.0) -> Any:
        self.started.append(name)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.now -= 1
        return name


@virtual_time
async def test_no_more_than_the_limit_run_at_once_and_all_are_served() -> None:
    work, bulkhead = Work(), Bulkhead(3)
    names = await asyncio.gather(*(bulkhead.run(work, n) for n in range(10)))
    assert names == list(range(10))
    assert work.most == 3
    assert (bulkhead.inflight, bulkhead.waiting) == (0, 0)


@virtual_time
async def test_a_full_line_refuses_and_says_so() -> None:
    work, bulkhead = Work(), Bulkhead(1, name="pdf", max_queue=1)
    first, second = asyncio.create_task(bulkhead.run(work, 1)), asyncio.create_task(bulkhead.run(work, 2))
    await asyncio.sleep(0)
    with pytest.raises(BulkheadFullError, match="pdf has 1 calls in flight and its queue is full") as refused:
        await bulkhead.run(work, 3)
    assert refused.value.bulkhead == "pdf"
    assert await asyncio.gather(first, second) == [1, 2]
    assert work.started == [1, 2]


@virtual_time
async def test_no_caller_waits_beyond_queue_timeout_or_the_deadline() -> None:
    work, loop = Work(), asyncio.get_running_loop()
    bulkhead = Bulkhead(1, queue_timeout=5)
    long = asyncio.create_task(bulkhead.run(work, "long", 100))
    await asyncio.sleep(0)
    began = loop.time()
    with pytest.raises(BulkheadFullError):
        await bulkhead.run(work, "short")
    assert loop.time() - began == 5
    with Deadline.after(2), pytest.raises(BulkheadFullError):
        await bulkhead.run(work, "shorter")
    assert loop.time() - began == 7
    long.cancel()
    await asyncio.wait([long])
    assert bulkhead.inflight == 0


@virtual_time
async def test_a_standing_line_serves_its_newest_first() -> None:
    work, bulkhead = Work(), Bulkhead(1)
    tasks = []
    for n in range(4):
        tasks.append(asyncio.create_task(bulkhead.run(work, n)))
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    assert work.started == [0, 3, 2, 1]  # the oldest had waited 0.97 s when the first place came free


@virtual_time
async def test_fifo_keeps_the_order() -> None:
    work, bulkhead = Work(), Bulkhead(1, order="fifo")
    await asyncio.gather(*(bulkhead.run(work, n) for n in range(4)))
    assert work.started == [0, 1, 2, 3]


@pytest.mark.parametrize("when", range(12))
@virtual_time
async def test_cancelled_waiters_and_holders_leak_no_slot(when: int) -> None:
    work, bulkhead = Work(), Bulkhead(2, order="fifo")
    tasks = [asyncio.create_task(bulkhead.run(work, n, 0)) for n in range(6)]
    for _ in range(when):
        await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.wait(tasks)
    assert (bulkhead.inflight, bulkhead.waiting) == (0, 0)
    assert [task.result() for task in tasks[1::2]] == [1, 3, 5]


def test_threads_share_slots_of_their_own() -> None:
    bulkhead, inside, go = Bulkhead(1), threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        go.wait(5)

    thread = threading.Thread(target=bulkhead.call, args=(hold,))
    thread.start()
    inside.wait(5)
    with pytest.raises(BulkheadFullError):
        bulkhead.call(lambda: None)
    go.set()
    thread.join()
    assert bulkhead.call(lambda: "free") == "free"


@virtual_time
async def test_a_slot_can_be_held_for_a_block() -> None:
    bulkhead = Bulkhead(1, max_queue=0)
    async with bulkhead.hold():
        assert bulkhead.inflight == 1
        with pytest.raises(BulkheadFullError):
            async with bulkhead.hold():
                pass
    assert bulkhead.inflight == 0


def test_nonsense_is_refused_together() -> None:
    with pytest.raises(ValueError, match=r"limit must be .*, got 0.*max_queue.*-1.*queue_timeout.*-2"):
        Bulkhead(0, max_queue=-1, queue_timeout=-2)


@virtual_time
async def test_a_cancelled_waiter_takes_no_space_in_the_queue() -> None:
    bulkhead = Bulkhead(1, max_queue=1, order="fifo")
    holder = asyncio.create_task(bulkhead.run(asyncio.sleep, 1))
    await asyncio.sleep(0)
    waiter = asyncio.create_task(bulkhead.run(asyncio.sleep, 1))
    await asyncio.sleep(0)
    newcomer = asyncio.create_task(bulkhead.run(asyncio.sleep, 1, "served"))
    waiter.cancel()  # it leaves the line only after the newcomer has looked at it
    assert await newcomer == "served"
    await asyncio.wait([holder, waiter])


@virtual_time
async def test_the_deadline_ends_a_call_that_holds_a_slot() -> None:
    bulkhead = Bulkhead(1)
    with Deadline.after(2), pytest.raises(DeadlineExceededError):
        await bulkhead.run(asyncio.sleep, 100)
    assert (asyncio.get_running_loop().time(), bulkhead.inflight) == (2, 0)


@virtual_time
async def test_a_stream_holds_its_slot_until_its_end() -> None:
    bulkhead = Bulkhead(1, max_queue=0)

    @bulkhead
    async def numbers() -> AsyncIterator[int]:
        yield 1
        assert bulkhead.inflight == 1
        yield 2

    assert [n async for n in numbers()] == [1, 2]
    stream = numbers()
    assert await anext(stream) == 1
    with pytest.raises(BulkheadFullError):
        await bulkhead.run(asyncio.sleep, 0)
    await stream.aclose()  # type: ignore[attr-defined]
    assert bulkhead.inflight == 0


@virtual_time
async def test_a_plain_function_that_turns_out_async_is_guarded() -> None:
    bulkhead = Bulkhead(1, max_queue=0)
    guarded: Any = bulkhead(lambda: asyncio.sleep(1, "done"))
    first = asyncio.ensure_future(guarded())
    await asyncio.sleep(0)
    assert bulkhead.inflight == 1
    with pytest.raises(BulkheadFullError):
        await guarded()
    assert await first == "done"


def test_a_loop_that_died_with_waiters_in_line_does_not_block_the_next_one() -> None:
    bulkhead = Bulkhead(1, max_queue=1)
    dead = asyncio.new_event_loop()
    tasks = [dead.create_task(bulkhead.run(asyncio.sleep, 100)) for _ in range(2)]
    dead.run_until_complete(asyncio.sleep(0))
    dead.run_until_complete(asyncio.sleep(0))
    assert (bulkhead.inflight, bulkhead.waiting) == (1, 1)
    dead.close()  # what ran on it was not cancelled
    for task in tasks:
        task.get_coro().close()  # the holder's place comes back where no loop runs  # type: ignore[union-attr]
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    assert (bulkhead.inflight, bulkhead.waiting) == (0, 0)
    assert asyncio.run(bulkhead.run(asyncio.sleep, 0, "served")) == "served"


def test_two_loops_at_once_are_refused() -> None:
    bulkhead, seen = Bulkhead(1), []

    async def here() -> None:
        tasks = [asyncio.create_task(bulkhead.run(asyncio.sleep, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        thread = threading.Thread(target=there)
        thread.start()
        thread.join(5)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def there() -> None:
        try:
            asyncio.run(bulkhead.run(asyncio.sleep, 0))
        except RuntimeError as error:
            seen.append(str(error))

    asyncio.run(here())
    assert seen == ["this limit is waited for on another event loop: make one for each loop"]


@virtual_time
async def test_refusals_emit_events() -> None:
    runtime, seen = Runtime(), []
    runtime.events.subscribe(seen.append)
    bulkhead = Bulkhead(1, name="pdf", max_queue=0, runtime=runtime)
    async with bulkhead.hold():
        with pytest.raises(BulkheadFullError):
            await bulkhead.run(asyncio.sleep, 0)
    assert seen == [BulkheadRejected(bulkhead="pdf", reason="full", inflight=1, waiting=0)]
    assert repr(bulkhead) == "Bulkhead(1, name='pdf', max_queue=0, queue_timeout=None, order='adaptive')"


@virtual_time
async def test_when_the_queue_stalls_and_is_full_the_oldest_is_refused() -> None:
    bulkhead = Bulkhead(1, max_queue=1, name="pdf")
    holder = asyncio.create_task(bulkhead.run(asyncio.sleep, 1))
    await asyncio.sleep(0)
    oldest = asyncio.create_task(bulkhead.run(asyncio.sleep, 0))
    await asyncio.sleep(0.1)
    newest = asyncio.create_task(bulkhead.run(asyncio.sleep, 0, "served"))
    with pytest.raises(BulkheadFullError, match="other calls took its place"):
        await oldest
    assert await newest == "served"
    await holder


@virtual_time
async def test_a_line_that_moves_keeps_its_oldest() -> None:
    bulkhead = Bulkhead(1, max_queue=1)
    await asyncio.sleep(100)
    holder = asyncio.create_task(bulkhead.run(asyncio.sleep, 1))
    await asyncio.sleep(0)
    oldest = asyncio.create_task(bulkhead.run(asyncio.sleep, 0, "served"))
    await asyncio.sleep(0.09)
    with pytest.raises(BulkheadFullError, match="its queue is full"):
        await bulkhead.run(asyncio.sleep, 0)
    assert await oldest == "served"
    await holder


@virtual_time
async def test_lifo_serves_the_newest_and_lets_the_oldest_go() -> None:
    work, bulkhead = Work(), Bulkhead(1, order="lifo", max_queue=3)
    tasks = [asyncio.create_task(bulkhead.run(work, n)) for n in range(5)]
    await asyncio.wait(tasks)
    assert work.started == [0, 4, 3, 2]
    assert isinstance(tasks[1].exception(), BulkheadFullError)


@virtual_time
async def test_one_who_is_refused_and_cancelled_in_the_same_moment_gives_back_what_it_never_had() -> None:
    bulkhead = Bulkhead(1, order="lifo", max_queue=1)
    holder = asyncio.create_task(bulkhead.run(asyncio.sleep, 9))
    await asyncio.sleep(0)
    oldest = asyncio.create_task(bulkhead.run(asyncio.sleep, 0))
    await asyncio.sleep(0)
    newest = asyncio.create_task(bulkhead.run(asyncio.sleep, 0))
    asyncio.get_running_loop().call_soon(oldest.cancel)  # after the newest has displaced it, before it knows
    await asyncio.wait([oldest])
    assert bulkhead.inflight == 1
    await asyncio.wait([holder, newest])
    assert bulkhead.inflight == 0


def test_waiters_of_a_dead_loop_are_forgotten_when_the_next_one_waits() -> None:
    bulkhead = Bulkhead(1, max_queue=9)
    dead = asyncio.new_event_loop()
    tasks = [dead.create_task(bulkhead.run(asyncio.sleep, 100)) for _ in range(2)]
    dead.run_until_complete(asyncio.sleep(0))
    dead.run_until_complete(asyncio.sleep(0))
    dead.close()

    async def again() -> None:
        with Deadline.after(0.02), pytest.raises(BulkheadFullError, match="no slot became free in time"):
            await bulkhead.run(asyncio.sleep, 0)

    asyncio.run(again())
    assert (bulkhead.inflight, bulkhead.waiting) == (1, 0), "the holder's place is its own to give back"
    for task in tasks:
        task.get_coro().close()  # type: ignore[union-attr]
        task._log_destroy_pending = False  # type: ignore[attr-defined]


@virtual_time
async def test_one_whose_time_ran_out_and_who_is_cancelled_in_the_same_moment() -> None:
    bulkhead, loop = Bulkhead(1, queue_timeout=1), asyncio.get_running_loop()
    holder = asyncio.create_task(bulkhead.run(asyncio.sleep, 9))
    await asyncio.sleep(0)
    problems: list[object] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    waiter = asyncio.create_task(bulkhead.run(asyncio.sleep, 0))
    loop.call_at(1, waiter.cancel)  # set first, it runs before the timer of the line
    await asyncio.wait([waiter])
    assert not problems
    assert waiter.cancelled()
    assert (bulkhead.inflight, bulkhead.waiting) == (1, 0)
    await holder


@virtual_time
async def test_slots_count_and_wait_for_others_too() -> None:
    slots = Slots(1, max_queue=2, order="fifo")
    assert slots.enter()
    waiting = asyncio.create_task(slots.wait(math.inf))
    late = asyncio.create_task(slots.wait(3))
    await asyncio.sleep(1)
    assert slots.waiting == 2
    assert await late == "late"
    slots.leave()
    assert await waiting is None
    assert (slots.inflight, slots.waiting) == (1, 0)


@virtual_time
async def test_a_slot_granted_at_the_last_moment_counts() -> None:
    slots, loop, problems = Slots(1, max_queue=1, order="fifo"), asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    assert slots.enter()
    loop.call_at(1, slots.leave)  # set first, it runs before the timer of the line
    assert await slots.wait(1) is None
    await asyncio.sleep(1)
    assert (slots.inflight, problems) == (1, [])


@virtual_time
async def test_a_coroutine_that_is_closed_in_the_line_leaves_it() -> None:
    bulkhead = Bulkhead(1)
    async with bulkhead.hold():
        waiting = bulkhead.run(asyncio.sleep, 0)
        waiting.send(None)
        assert bulkhead.waiting == 1
        waiting.close()
        assert bulkhead.waiting == 0


@pytest.mark.parametrize("make", [lambda: Bulkhead(1), lambda: AdaptiveLimit(initial=1)])
@virtual_time
async def test_a_base_exception_releases_the_slot_too(make: Callable[[], Limiter]) -> None:
    class Stop(BaseException):
        pass

    async def stopped() -> None:
        raise Stop

    limiter = make()
    with pytest.raises(Stop):
        await limiter.run(stopped)
    assert limiter.inflight == 0


@virtual_time
async def test_a_listener_that_stops_the_process_does_not_keep_the_slot() -> None:
    class Stop(BaseException):
        pass

    def listen(event: object) -> None:
        raise Stop

    runtime = Runtime()
    runtime.events.subscribe(listen)
    limit = AdaptiveLimit(initial=10, runtime=runtime)

    async def late() -> None:
        raise TimeoutError

    with pytest.raises(Stop):
        await limit.run(late)
    assert (limit.limit, limit.inflight) == (7, 0)
