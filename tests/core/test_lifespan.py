import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from prodkit import running
from prodkit.core.lifespan import Managed, Resource
from prodkit.testing import virtual_time


class Part(Managed):
    def __init__(self, name, log, *, start=None, close=None, takes=0.0) -> None:
        self.name, self.log, self.takes = name, log, takes
        self.start_error, self.close_error = start, close

    async def start(self) -> None:
        if self.start_error:
            raise self.start_error
        self.log.append(f"+{self.name}")

    async def aclose(self) -> None:
        await asyncio.sleep(self.takes)
        self.log.append(f"-{self.name}")
        if self.close_error:
            raise self.close_error


@virtual_time
async def test_up_in_order_down_in_reverse_for_both_kinds() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        log.append("+m")
        yield
        log.append("-m")

    assert isinstance(Part("a", log), Resource)
    async with running(Part("a", log), manager(), Part("b", log)):
        log.append("body")
    assert log == ["+a", "+m", "+b", "body", "-b", "-m", "-a"]


@virtual_time
async def test_a_part_that_cannot_start_closes_those_before_it() -> None:
    log: list[str] = []
    error = OSError("taken port")
    with pytest.raises(OSError, match="taken port") as caught:
        async with running(Part("a", log), Part("b", log, start=error), Part("c", log)):
            log.append("body")
    assert log == ["+a", "-a"]
    assert caught.value is error


@virtual_time
async def test_an_error_of_the_body_wins_and_carries_those_of_closing() -> None:
    log: list[str] = []
    with pytest.raises(ValueError, match="body") as caught:
        async with running(Part("a", log, close=OSError("no")), Part("b", log)):
            raise ValueError("body")
    assert log == ["+a", "+b", "-b", "-a"]
    assert caught.value.__notes__ == ["while closing: OSError: no"]


@virtual_time
async def test_one_closing_error_is_raised_as_it_is_several_as_a_group() -> None:
    log: list[str] = []
    with pytest.raises(OSError, match="one"):
        async with running(Part("a", log, close=OSError("one")), Part("b", log)):
            pass
    with pytest.raises(ExceptionGroup) as caught:
        async with running(Part("a", log, close=OSError("one")), Part("b", log, close=ValueError("two"))):
            pass
    assert [str(error) for error in caught.value.exceptions] == ["two", "one"]


@virtual_time
async def test_a_cancellation_during_closing_does_not_cut_it_short() -> None:
    log: list[str] = []

    async def service() -> None:
        async with running(Part("a", log, takes=2), Part("b", log, takes=2)):
            log.append("body")

    task = asyncio.create_task(service())
    await asyncio.sleep(1)  # b is closing
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["+a", "+b", "body", "-b", "-a"]
    assert asyncio.get_running_loop().time() == 4


@virtual_time
async def test_a_cancelled_body_closes_everything() -> None:
    log: list[str] = []

    async def service() -> None:
        async with running(Part("a", log, takes=1)):
            await asyncio.Event().wait()

    task = asyncio.create_task(service())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["+a", "-a"]


@virtual_time
async def test_a_part_that_does_not_close_is_given_up_and_named() -> None:
    log: list[str] = []
    with pytest.raises(TimeoutError, match=r"Part did not close within 3\.0 s"):
        async with running(Part("a", log), Part("b", log, takes=3600), close_timeout=3.0):
            pass
    assert log == ["+a", "+b", "-a"]
    assert asyncio.get_running_loop().time() == 3


@virtual_time
async def test_wrong_use_and_the_single_form() -> None:
    log: list[str] = []
    with pytest.raises(ValueError, match="close_timeout"):
        async with running(close_timeout=0):
            pass
    async with Part("a", log) as part:
        assert part.name == "a"
    assert log == ["+a", "-a"]


@virtual_time
async def test_what_is_no_resource_is_refused_before_any_other_starts() -> None:
    log: list[str] = []
    with pytest.raises(ValueError, match=r"got 3; .*Part.* is a class: give an object of it"):
        async with running(Part("a", log), 3, Part):  # type: ignore[arg-type]
            log.append("body")
    with pytest.raises(TypeError, match="a resource must be an object with start"):
        async with running(Part("a", log), "redis"):  # type: ignore[arg-type]
            log.append("body")
    assert log == []
