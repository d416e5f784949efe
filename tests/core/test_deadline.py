import asyncio
import math

import pytest

from prodkit import Deadline, DeadlineExceededError
from prodkit.testing import virtual_time


@virtual_time
async def test_a_nested_deadline_can_only_come_sooner() -> None:
    with Deadline.after(5) as outer:
        with Deadline.after(60) as inner:
            assert inner.at == outer.at
        with Deadline.after(1) as inner:
            assert inner.remaining() == 1
            assert Deadline.instant() == inner.at
        assert Deadline.instant() == outer.at
    assert Deadline.current() is None


@virtual_time
async def test_sooner_takes_the_sooner_of_limit_and_deadline() -> None:
    assert Deadline.sooner(3) == 3
    assert Deadline.sooner(None) is None
    with Deadline.after(2):
        assert Deadline.sooner(3) == 2
        assert Deadline.sooner(1) == 1
        assert Deadline.sooner(None) == 2
        await asyncio.sleep(5)
        assert Deadline.sooner(1) == 0


@virtual_time
async def test_tasks_inherit_it_and_background_work_sheds_it() -> None:
    async def seen() -> float:
        return Deadline.instant()

    with Deadline.after(2) as deadline:
        assert await asyncio.create_task(seen()) == deadline.at
        with Deadline.detached():
            assert await asyncio.create_task(seen()) == math.inf
        assert Deadline.instant() == deadline.at


@virtual_time
async def test_check_raises_once_it_has_passed() -> None:
    with Deadline.after(2) as deadline:
        deadline.check()
        await asyncio.sleep(2)
        assert deadline.expired
        with pytest.raises(DeadlineExceededError):
            deadline.check()


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="nan"):
        Deadline.after(math.nan)
    with pytest.raises(TypeError, match="got '5'"):
        Deadline.after("5")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"use Deadline\.after"):
        Deadline(5)  # 5 could be seconds or an instant
    deadline = Deadline.after(1)
    with deadline, pytest.raises(RuntimeError, match="one per block"), deadline:
        pass
    assert Deadline.current() is None
