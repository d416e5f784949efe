from __future__ import annotations

import json
import math
from typing import Any

import pytest

from prodkit.cache.entry import Entry
from prodkit.cache.stored_value import StoredValue, Tagged, Unchanged, ValueReader


def stored(
    *tags: str, body: bytes = b"json;9000;2000;1500000;payload;with;semicolons", head: str = ""
) -> bytes:
    text = (head or json.dumps(["ab12", "77", "500", *tags], separators=(",", ":"))).encode()
    return b"pk2" + len(text).to_bytes(4, "big") + text + body


def test_a_value_without_tags() -> None:
    found, corrupt = ValueReader(b"json").judge("k", stored(), 5000, b"77", None)
    head = b'pk2\x00\x00\x00\x13["ab12","77","500"]'
    assert found == StoredValue(b"payload;with;semicolons", 5.0, 2.0, 1.5, (), head, b"77")
    assert not corrupt
    endless = stored(body=b"json;0;0;0;x")
    assert ValueReader(b"json").judge("k", endless, -1, b"77", None) == (
        StoredValue(b"x", math.inf, 0, 0, (), head, b"77"),
        False,
    )


def known(**changes: Any) -> Entry:
    found, _ = ValueReader(b"json").judge("k", stored(), 5000, b"77", None)
    assert isinstance(found, StoredValue)
    facts: dict[str, Any] = {"fresh_until": 3.0, "expires_at": 5.0, "head": found.head, "generation": b"77"}
    return Entry(b"", 1, **(facts | changes))


def test_a_value_that_memory_has_is_recognised_by_its_head() -> None:
    entry = known()
    assert ValueReader(b"json").judge("k", stored(), 4000, b"77", None, entry) == (
        Unchanged(entry, 4000),
        False,
    )


@pytest.mark.parametrize(
    ("entry", "value", "left", "generation", "guards"),
    [
        (known(head=b""), stored(), 4000, b"77", None),
        (known(), stored(head='["ab13","77","500"]'), 4000, b"77", None),  # written again
        (known(), stored(head='["ab12","77","500","t","1"]'), 4000, b"77", None),
        (known(), stored(), 4000, b"78", None),  # the namespace was cleared
        (known(), stored(), 4000, None, None),
        (known(), stored(), 4000, b"77", b'[["t","501",["k*"]]]'),  # patterns of an outage
        (known(), stored(), 4000, b"77", b'[["t","501",["z*"]]]'),
        (known(), stored(), -1, b"77", None),  # PERSIST by hand
        (known(expires_at=math.inf), stored(), 4000, b"77", None),
        (known(), None, -2, b"77", None),
        (known(), b"pk1....", 4000, b"77", None),
    ],
)
def test_a_value_that_may_differ_is_read(
    entry: Entry, value: bytes | None, left: int, generation: bytes | None, guards: bytes | None
) -> None:
    reader = ValueReader(b"json")
    plain = reader.judge("k", value, left, generation, guards)
    assert reader.judge("k", value, left, generation, guards, entry) == plain


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
