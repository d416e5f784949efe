import asyncio
import os
import threading
import time

import pytest

from prodkit import Deadline, DeadlineExceededError, ProdkitError, RejectedError, sync


class Resource:
    def __init__(self, log: list[str], name: str, *, fails: bool = False) -> None:
        self.log, self.name, self.fails = log, name, fails

    async def start(self) -> None:
        if self.fails:
            raise OSError(f"{self.name} cannot start")
        self.log.append(f"start {self.name}")

    async def aclose(self) -> None:
        self.log.append(f"close {self.name}")

    async def where(self) -> tuple[str, int]:
        return threading.current_thread().name, os.getpid()


def test_resources_start_in_order_and_close_in_reverse() -> None:
    log: list[str] = []
    with sync.running(Resource(log, "a"), Resource(log, "b")):
        log.append("body")
    assert log == ["start a", "start b", "body", "close b", "close a"]


def test_one_that_cannot_start_closes_the_others() -> None:
    log: list[str] = []
    with (
        pytest.raises(OSError, match="b cannot start"),
        sync.running(Resource(log, "a"), Resource(log, "b", fails=True)),
    ):
        pytest.fail("the body must not run")
    assert log == ["start a", "close a"]


def test_start_and_close_without_a_block() -> None:
    log: list[str] = []
    service = sync.running(Resource(log, "a")).start()
    with pytest.raises(RuntimeError, match="started already"):
        service.start()
    service.close()
    service.close()
    assert log == ["start a", "close a"]


def test_calls_run_on_one_background_thread() -> None:
    resource = Resource([], "a")
    with sync.running(resource):
        name, _ = sync.call(resource.where)
    assert name == "prodkit-sync"


def test_the_deadline_crosses_over() -> None:
    async def forever() -> None:
        left = Deadline.sooner(None)
        assert left is not None
        try:
            async with asyncio.timeout(left):
                await asyncio.sleep(60)
        except TimeoutError:
            raise DeadlineExceededError("the deadline has passed") from None

    with pytest.raises(DeadlineExceededError), Deadline.after(0.05):
        sync.call(forever)


def test_a_call_from_the_loop_is_refused() -> None:
    resource = Resource([], "a")

    async def nested() -> None:
        sync.call(resource.where)

    with pytest.raises(RuntimeError, match="own loop"):
        sync.call(nested)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_cannot_use_parts_of_its_parent_and_can_start_its_own() -> None:
    parents = Resource([], "parent")
    with sync.running(parents):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                try:
                    sync.call(parents.where)
                except sync.NotRunningError as error:
                    own = Resource([], "child")
                    with sync.running(own):
                        code = 0 if sync.call(own.where)[1] == os.getpid() and "forked" in str(error) else 2
            finally:
                os._exit(code)
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                assert os.waitstatus_to_exitcode(status) == 0
                break
            time.sleep(0.01)
        else:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        assert sync.call(parents.where)[1] == os.getpid()


def test_the_error_says_that_the_call_never_started() -> None:
    assert issubclass(sync.NotRunningError, RejectedError)
    assert issubclass(sync.NotRunningError, ProdkitError)


@pytest.mark.parametrize("face", [sync.Cache, sync.Client, sync.Pool, sync.RateLimiter])
def test_a_face_refuses_what_is_not_its_part(face: type) -> None:
    for given in (3, None, object):
        with pytest.raises(TypeError, match=f"sync.{face.__name__} takes a prodkit"):
            face(given)


async def test_a_call_refuses_a_coroutine_object_and_an_ordinary_function() -> None:
    async def one() -> int:
        return 1

    coroutine = one()
    with pytest.raises(TypeError, match=r"sync.call\(answers.get, key\); got a coroutine"):
        sync.call(coroutine)  # type: ignore[arg-type]
    coroutine.close()
    with pytest.raises(TypeError, match="runs async functions"):
        sync.call(lambda: 1)  # type: ignore[arg-type]


def test_what_cannot_be_started_is_refused_where_it_is_given() -> None:
    with pytest.raises(TypeError, match=r"an object with start\(\) and aclose\(\).*got 3"):
        sync.running(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is a class: give an object of it"):
        sync.running(Resource)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="close_timeout"):
        sync.running(Resource([], "a"), close_timeout=0)


def test_a_function_of_the_users_own_ends_at_the_callers_deadline() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("slow")

    with Deadline.after(0.05), pytest.raises(DeadlineExceededError):
        sync.call(slow)
    assert ended == ["slow"]


def test_cleaning_up_runs_after_the_deadline_too() -> None:
    log: list[str] = []
    resource = Resource(log, "a")
    with Deadline.after(0.001) as deadline:
        while not deadline.expired:
            time.sleep(0.001)
        sync.call(resource.aclose)
        with pytest.raises(DeadlineExceededError):
            sync.call(resource.where)
    assert log == ["close a"]
