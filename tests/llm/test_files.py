"""The body of a file in several responses, without a network: each byte once, or a failure."""

import random
from typing import Any, cast

import pytest

from prodkit.llm.failures import FaultError
from prodkit.llm.files import Files, StoredFile, _FileBody

DATA = random.Random(3).randbytes(1000)


class Told:
    """The head of a response."""

    def __init__(self, status: int, **headers: str) -> None:
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class OneFile:
    """Knows the size of one file."""

    async def get(self, file_id: str) -> StoredFile:
        return StoredFile(file_id, "a", "b", len(DATA))


def body(max_bytes: int = 10_000) -> _FileBody:
    return _FileBody(cast("Files", OneFile()), "file_1", max_bytes)


def begin(part: _FileBody, status: int, **headers: str) -> None:
    part.begin(cast("Any", Told(status, **headers)))


@pytest.mark.parametrize("seed", range(50))
async def test_each_byte_is_delivered_once(seed: int) -> None:
    rng = random.Random(seed)
    part, got = body(), b""
    while not await part.whole():
        asked = int(part.headers().get("Range", "bytes=0-")[6:-1])
        assert asked == len(got)
        if asked and rng.random() < 0.5:
            begin(part, 206, content_range=f"bytes {asked}-999/{rng.choice(['1000', '*'])}")
            rest = DATA[asked:]
        else:
            begin(part, 200, **({"content_length": "1000"} if rng.random() < 0.5 else {}))
            rest = DATA
        end = rng.randint(0, len(rest))
        while rest and end > 0:
            size = min(rng.randint(1, 300), end)
            got += b"".join(part.feed(rest[:size]))
            rest, end = rest[size:], end - size
    assert got == DATA


def test_a_response_that_does_not_fit_is_refused() -> None:
    part = body()
    begin(part, 200, content_length="1000")
    part.feed(DATA[:100])
    for headers in ({}, {"content_range": "bytes 101-999/1000"}, {"content_range": "bytes 100-1998/1999"}):
        with pytest.raises(FaultError) as raised:
            begin(part, 206, **headers)
        assert raised.value.failure.code == "bad_response"


def test_a_length_of_compressed_bytes_is_not_the_size() -> None:
    part = body()
    begin(part, 200, content_length="300", content_encoding="gzip")
    part.feed(DATA)
    assert part._total is None


def test_a_file_that_is_too_large_is_refused_at_once_or_when_it_shows() -> None:
    with pytest.raises(FaultError) as raised:
        begin(body(999), 200, content_length="1000")
    assert raised.value.failure.code == "too_large"
    part = body(999)
    begin(part, 200)
    with pytest.raises(FaultError):
        part.feed(DATA)
