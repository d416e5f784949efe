from __future__ import annotations

import asyncio

import pytest

from prodkit import cache
from prodkit.testing.loop import virtual_time


@virtual_time
async def test_counts_in_memory() -> None:
    views = cache.counter(None, "views", ttl=10)
    assert [await views.increment(), await views.increment(5), await views.decrement()] == [1, 6, 5]
    assert await views.value() == 5
    await asyncio.sleep(10)
    assert await views.value() == 0
    await views.increment()
    await views.reset()
    assert await views.value() == 0
    with pytest.raises(TypeError, match="int"):
        await views.increment(1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2"):
        await views.increment(2**53 + 1)
    assert await views.value() == 0
    assert await cache.counter(None, "ever", ttl=cache.FOREVER).increment() == 1
