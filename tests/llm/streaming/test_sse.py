import pytest
from hypothesis import given, strategies as st

from prodkit.llm.streaming.sse import Decoder

EVENTS = [(b"message_start", b'{"a": 1}'), (b"ping", b"{}"), (b"", b"no name"), (b"x", "é… \u2028".encode())]


def _wire(events: list[tuple[bytes, bytes]], end: bytes) -> bytes:
    told = b""
    for name, data in events:
        told += (b"event: " + name + end if name else b"") + b"data: " + data + end + end
    return told


@given(st.lists(st.integers(1, 9), min_size=1, max_size=7), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_are_whole_however_the_bytes_come(sizes: list[int], end: bytes) -> None:
    wire = _wire(EVENTS, end)
    decoder, got, at = Decoder(), [], 0
    while at < len(wire):
        size = sizes[at % len(sizes)]
        got += decoder.feed(wire[at : at + size])
        at += size
    got += decoder.feed(b"\n")  # a last CR may still be waiting for its LF
    assert got == EVENTS


def test_comments_other_fields_and_missing_spaces() -> None:
    told = b": comment\n\nid: 7\nretry: 10\nevent:a\ndata:1\ndata: 2\n\n:\n\n"
    assert Decoder().feed(told) == [(b"a", b"1\n2")]


def test_an_event_that_is_cut_off_is_not_given() -> None:
    decoder = Decoder()
    assert decoder.feed(b"event: a\ndata: 1\n") == []
    assert decoder.pending


def test_an_endless_event_is_refused() -> None:
    decoder = Decoder()
    with pytest.raises(ValueError, match="16 MiB"):
        for _ in range(20):
            decoder.feed(b"x" * 2**20)
