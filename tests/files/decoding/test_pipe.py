from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

import pytest

from prodkit.files.decoding.pipe import Channel, ChannelError, ChannelTimeoutError


@pytest.fixture
def ends() -> Iterator[tuple[Channel, int, int]]:
    """A channel that reads what a raw descriptor writes, and the other way round."""
    reads, raw_writes = os.pipe()
    raw_reads, writes = os.pipe()
    yield Channel(reads, writes), raw_reads, raw_writes
    for each in (reads, raw_writes, raw_reads, writes):
        with contextlib.suppress(OSError):
            os.close(each)


def test_messages_arrive_whole() -> None:
    reads, writes = os.pipe()
    channel = Channel(reads, writes)
    channel.send({"kind": "png"}, b"\0body")
    assert channel.receive(5) == ({"kind": "png"}, b"\0body")
    os.close(writes)
    with pytest.raises(ChannelError, match="gone"):
        channel.receive(5)
    os.close(reads)


def test_silence_ends_in_time(ends: tuple[Channel, int, int]) -> None:
    channel, _, _ = ends
    with pytest.raises(ChannelTimeoutError):
        channel.receive(0.01)
    with pytest.raises(ChannelTimeoutError):
        channel.send({}, bytes(2**20), 0.01)  # the pipe is full


@pytest.mark.parametrize(
    "message",
    [
        b"\xff\xff\xff\xff\0\0\0\0",
        b"\0\0\0\1\xff\xff\xff\xff",
        b"\0\0\0\1\0\0\0\0{",
        b"\0\0\0\2\0\0\0\0[]",
    ],
)
def test_a_malformed_answer_is_an_error(ends: tuple[Channel, int, int], message: bytes) -> None:
    channel, _, raw_writes = ends
    os.write(raw_writes, message)
    with pytest.raises(ChannelError):
        channel.receive(5)


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="pipes of a fixed size")
def test_a_widened_pipe_takes_a_picture_at_once(ends: tuple[Channel, int, int]) -> None:
    channel, raw_reads, _ = ends
    picture = bytes(2**18)
    with pytest.raises(ChannelTimeoutError):
        channel.send({}, picture, 0.01)
    os.read(raw_reads, 2**20)
    channel.widen()
    if fcntl.fcntl(raw_reads, fcntl.F_GETPIPE_SZ) > len(
        picture
    ):  # else the user's share of pipe memory is used up
        channel.send({}, picture, 5)
