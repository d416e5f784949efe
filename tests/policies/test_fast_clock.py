import asyncio
import time
from contextvars import Context

from prodkit import LoopClock
from prodkit.policies.fast_clock import fast_clock_of, thread_clock_of
from prodkit.testing import virtual_time


@virtual_time
async def test_on_virtual_time_it_reads_the_loop_and_never_the_system() -> None:
    for clock_of in (fast_clock_of, thread_clock_of):
        read = clock_of(LoopClock())
        before = read()()
        await asyncio.sleep(100)
        assert read()() - before == 100


def test_on_an_ordinary_loop_it_agrees_with_the_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for clock_of in (fast_clock_of, thread_clock_of):
            read = clock_of(LoopClock())
            read()()  # the first call finds out which loop runs
            before = loop.time()
            assert before <= read()() <= loop.time()
            assert read()() <= await asyncio.create_task(later(read)) <= loop.time()

    async def later(read) -> float:
        return read()()

    Context().run(asyncio.run, main())


def test_without_a_loop_it_is_the_systems_monotonic_clock() -> None:
    for clock_of in (fast_clock_of, thread_clock_of):
        read = Context().run(clock_of, LoopClock())
        before = time.monotonic()
        assert before <= Context().run(lambda read=read: read()()) <= time.monotonic()


def test_a_context_that_was_used_in_a_thread_reads_a_virtual_loop_all_the_same() -> None:
    context = Context()
    read = fast_clock_of(LoopClock())
    context.run(lambda: read()())

    @virtual_time
    async def main() -> float:
        return asyncio.get_running_loop().time() - read()()

    assert context.run(main) == 0


def test_a_clock_of_your_own_is_asked() -> None:
    class Stopped(LoopClock):
        def monotonic(self) -> float:
            return 7.0

    for clock_of in (fast_clock_of, thread_clock_of):
        assert clock_of(Stopped())()() == 7.0
