from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from prodkit.cache import JsonCodec

VALUES: list[Any] = [
    None, True, 0, -(10**30), 1.5, "", "olá \u2028", [], {}, [1, [2, {"a": None}]], b"\x00\xff", Decimal("1.10"),
    UUID(int=5), date(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), time(1, 2),
    timedelta(days=-1, seconds=1),
    {"$pk": "b", "v": "eA=="}, {"a": '"$pk":'}, [b"a", {"b": Decimal(1)}],
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_goes_in_comes_out(value: Any) -> None:
    codec = JsonCodec()
    back = codec.decode(codec.encode(value))
    assert back == value
    assert type(back) is type(value)


def test_deep_documents_are_refused_with_words() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TypeError, match="cannot be cached"):
        JsonCodec().encode(deep)
    while deep:  # taken apart by hand: the interpreter would do it by recursion
        deep = deep[0]


@pytest.mark.parametrize("payload", [b"", b"x", b"j{", b'J{"$pk":"zz","v":1}', b"\x80\x04."])
def test_what_is_not_ours_is_an_error(payload: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        JsonCodec().decode(payload)
