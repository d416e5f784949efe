"""Group commit."""

import asyncio
from collections.abc import Sequence

import pytest

from prodkit.core.deadline import Deadline
from prodkit.jobs.batching import GroupCommit
from prodkit.testing import virtual_time


@virtual_time
async def test_writes_that_wait_share_the_next_statement():
    batches: list[list[int]] = []

    async def flush(items: Sequence[int]) -> list[int]:
        batches.append(list(items))
        await asyncio.sleep(1)
        return [item * 10 for item in items]

    group = GroupCommit(flush, most=3)

    async def later(item: int) -> int:
        await asyncio.sleep(0.5)
        return await group.add(item)

    assert await asyncio.gather(group.add(1), *(later(n) for n in (2, 3, 4, 5))) == [10, 20, 30, 40, 50]
    assert [len(batch) for batch in batches] == [1, 3, 1]


@virtual_time
async def test_an_error_reaches_its_batch_only_and_a_deadline_no_other_caller():
    async def flush(items: Sequence[int]) -> list[int]:
        assert Deadline.current() is None
        await asyncio.sleep(0)
        if 2 in items:
            raise OSError("lost")
        return list(items)

    group = GroupCommit(flush)
    with Deadline.after(5):
        assert await group.add(1) == 1
        with pytest.raises(OSError, match="lost"):
            await group.add(2)
        assert await group.add(3) == 3
