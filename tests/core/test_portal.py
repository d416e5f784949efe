import asyncio
import concurrent.futures
import contextvars
import os
import threading
import time
from collections.abc import Iterator

import pytest

from prodkit import Deadline
from prodkit.core.portal import Portal


@pytest.fixture
def portal() -> Iterator[Portal]:
    made = Portal("test-portal")
    yield made
    made.close()


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def test_results_and_errors_cross_over(portal: Portal) -> None:
    async def fail() -> None:
        raise LookupError("nothing there")

    assert portal.call(double, 21) == 42
    with pytest.raises(LookupError, match="nothing there"):
        portal.call(fail)


def test_many_threads_share_one_loop(portal: Portal) -> None:
    loops: set[int] = set()

    async def where(number: int) -> int:
        loops.add(id(asyncio.get_running_loop()))
        return await double(number)

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: portal.call(where, number), range(200)))
    assert found == [2 * number for number in range(200)]
    assert len(loops) == 1


def test_the_deadline_and_context_of_the_caller_are_in_force(portal: Portal) -> None:
    mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark")
    mark.set("mine")

    async def look() -> tuple[str, float | None]:
        now = Deadline.current()
        return mark.get(), None if now is None else now.remaining()

    with Deadline.after(30):
        seen, left = portal.call(look)
    assert seen == "mine"
    assert left is not None
    assert 20 < left <= 30


def test_cancelling_the_future_cancels_the_task(portal: Portal) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    future = portal.submit(wait)
    assert begun.wait(5)
    future.cancel()
    assert ended.wait(5)


def test_a_call_from_the_loop_itself_is_refused(portal: Portal) -> None:
    async def nested() -> None:
        portal.call(double, 1)

    with pytest.raises(RuntimeError, match="await the coroutine instead"):
        portal.call(nested)


def test_close_ends_the_thread_and_what_runs_and_a_later_call_starts_again(portal: Portal) -> None:
    ended = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    portal.submit(wait)
    portal.call(double, 1)
    portal.close()
    assert ended.is_set()
    assert not any(each.name == "test-portal" for each in threading.enumerate())
    portal.close()
    assert portal.call(double, 2) == 4


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_gets_a_loop_of_its_own(portal: Portal) -> None:
    assert portal.call(double, 1) == 2
    child = os.fork()
    if child == 0:
        os._exit(0 if portal.call(double, 3) == 6 else 1)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert os.waitstatus_to_exitcode(status) == 0
            break
        time.sleep(0.01)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert portal.call(double, 4) == 8
