"""What is read of a source, and how it is left."""

import io
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from upload_corpus.base import bases

from prodkit import files
from prodkit.files.reader import CHUNK, TooLargeError, read

LIMIT = 200_000


class Endless:
    """A file without an end that counts what was taken, and gives more than was asked, on request."""

    def __init__(self, generous: int = 0) -> None:
        self.taken = 0
        self.generous = generous

    def read(self, size: int) -> bytes:
        given = size + self.generous
        self.taken += given
        return b"x" * given


class Awaited(io.BytesIO):
    """Like an UploadFile: read and seek are awaited."""

    async def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        return super().read(size)

    async def seek(self, offset: int, whence: int = 0) -> int:  # type: ignore[override]
        return super().seek(offset, whence)


async def chunks(size: int, count: int | None = None) -> AsyncIterator[bytes]:
    for _ in itertools.count() if count is None else range(count):
        yield b"x" * size


@pytest.mark.parametrize("generous", [0, 5_000])
async def test_a_file_is_read_no_further_than_one_chunk_past_the_limit(generous: int) -> None:
    source = Endless(generous)
    with pytest.raises(TooLargeError):
        await read(source, LIMIT)
    assert source.taken <= LIMIT + CHUNK


async def test_a_stream_is_read_no_further_than_one_chunk_past_the_limit() -> None:
    taken = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        async for chunk in chunks(16_384):
            taken += len(chunk)
            yield chunk

    with pytest.raises(TooLargeError):
        await read(counted(), LIMIT)
    assert taken <= LIMIT + 16_384


@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
async def test_exactly_the_limit_passes(size: int) -> None:
    data = bytes(size)
    assert await read(data, LIMIT) == data
    assert await read(memoryview(data), LIMIT) == data
    assert await read(io.BytesIO(data), LIMIT) == data
    assert await read(Awaited(data), LIMIT) == data


async def test_bytes_past_the_limit_are_refused() -> None:
    for source in (bytes(LIMIT + 1), io.BytesIO(bytes(LIMIT + 1)), chunks(LIMIT + 1, 1)):
        with pytest.raises(TooLargeError):
            await read(source, LIMIT)


@pytest.mark.parametrize("kind", [io.BytesIO, Awaited])
async def test_the_cursor_is_set_back_also_after_a_refusal(kind: Any) -> None:
    source = kind(b"header" + b"y" * 500_000)
    io.BytesIO.seek(source, 6)
    with pytest.raises(TooLargeError):
        await read(source, LIMIT)
    assert source.tell() == 6
    io.BytesIO.seek(source, 500_000)
    assert await read(source, LIMIT) == b"y" * 6
    assert source.tell() == 500_000


async def test_what_is_no_file_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="str"):
        await read("photo.jpg", LIMIT)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="binary mode"):
        await read(io.StringIO("text"), LIMIT)

    async def words() -> AsyncIterator[Any]:
        yield "text"

    with pytest.raises(TypeError, match="a chunk is bytes"):
        await read(words(), LIMIT)


async def test_the_three_sources_give_one_verdict(avatars: files.Validator) -> None:
    data = bases()["jpeg"][1]

    async def stream() -> AsyncIterator[bytes]:
        for at in range(0, len(data), 100):
            yield data[at : at + 100]

    found = [
        await avatars.check(source, filename="a.jpg", declared_type="image/jpeg")
        for source in (data, io.BytesIO(data), Awaited(data), stream())
    ]
    assert len(set(found)) == 1
