"""A streamed step of a job that is called in place."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from prodkit import jobs


async def words(written: str, *more: str) -> AsyncIterator[str]:
    for each in ("a", "b", *more):
        yield each


async def test_the_whole_text_is_returned() -> None:
    @jobs.job
    async def tell() -> str:
        return await jobs.stream("text", words, "c")

    assert await tell() == "abc"


async def test_only_an_async_generator_function_streams() -> None:
    async def plain(written: str) -> str:
        return written

    @jobs.job
    async def tell() -> str:
        return await jobs.stream("text", plain)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="async generator function"):
        await tell()
