from __future__ import annotations

import json
import math

import pytest

from prodkit.cache.stored_value import StoredValue, Tagged, ValueReader


def stored(
    *tags: str, body: bytes = b"json;9000;2000;1500000;payload;with;semicolons", head: str = ""
) -> bytes:
    text = (head or json.dumps(["ab12", "77", "500", *tags], separators=(",", ":"))).encode()
    return b"pk2" + len(text).to_bytes(4, "big") + text + body


def test_a_value_without_tags() -> None:
    found, corrupt = ValueReader(b"json").judge("k", stored(), 5000, b"77", None)
    assert found == StoredValue(b"payload;with;semicolons", 5.0, 2.0, 1.5, ())
    assert not corrupt
    endless = stored(body=b"json;0;0;0;x")
    assert ValueReader(b"json").judge("k", endless, -1, b"77", None) == (
        StoredValue(b"x", math.inf, 0, 0, ()),
        False,
    )


def test_tags_are_left_to_compare_even_where_they_hold_quotes() -> None:
    judged = ValueReader(b"json").judge("k", stored('u:"7', "1", "v", "2"), 99_000, b"77", None)
    assert isinstance(judged, Tagged)
    assert judged.value.tags == ('u:"7', "v")
    assert judged.versions == ("1", "2")
    assert judged.value.left == 9.0  # no longer than its own life


@pytest.mark.parametrize(("value", "left"), [(None, -2), (b"anything", -2)])
def test_what_is_not_there(value: bytes | None, left: int) -> None:
    assert ValueReader(b"json").judge("k", value, left, b"77", None) == (None, False)


@pytest.mark.parametrize("generation", [None, b"78", b""])
def test_another_generation(generation: bytes | None) -> None:
    assert ValueReader(b"json").judge("k", stored(), 5000, generation, None) == (None, False)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"pk1....",
        b"pk2\x00\x00",
        b"pk2\xff\xff\xff\xff[]",
        stored(head='["ab12","77","x"]'),
        stored(head='{"ab12":"77","5":5}'),
        stored(head='["ab12","77","500",'),
        stored(head='["ab12","77","500","t"]'),
        stored(body=b"msgpack;9000;2000;0;x"),
        stored(body=b"json;9000"),
        stored(body=b"json;a;b;c;x"),
    ],
)
def test_what_is_not_ours_is_unreadable(value: bytes) -> None:
    assert ValueReader(b"json").judge("k", value, 5000, b"77", None) == (None, True)


def test_guards_of_an_outage() -> None:
    reader = ValueReader(b"json")
    guards = json.dumps([["token", "501", ["user:*"]]]).encode()
    assert reader.judge("user:1", stored(), 5000, b"77", guards) == (None, False)
    assert reader.judge("other", stored(), 5000, b"77", guards)[0] is not None
    later = json.dumps([["token", "500", ["user:*"]]]).encode()
    assert reader.judge("user:1", stored(), 5000, b"77", later)[0] is not None
    assert reader.judge("other", stored(), 5000, b"77", b"not json") == (None, False)
