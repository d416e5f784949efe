"""The form in which documents stand in memory: every hit gives an equal copy that its reader may change."""

from __future__ import annotations

import json
from datetime import date
from random import Random
from typing import Any

import pytest

from prodkit.cache import Cache, JsonCodec
from prodkit.cache.packing import pack, unpack


def document(random: Random, depth: int = 0) -> Any:
    kind = random.randrange(9 if depth < 5 else 7)
    if kind == 7:
        return [document(random, depth + 1) for _ in range(random.randrange(5))]
    if kind == 8:
        return {f"k{n}ç": document(random, depth + 1) for n in range(random.randrange(5))}
    return (None, True, -(2**70), 0.1, "", "😀\ud800"[: random.randrange(3)], random.random())[kind]


@pytest.mark.parametrize("seed", range(30))
def test_a_copy_is_equal_to_the_letter(seed: int) -> None:
    value = [document(Random(f"{seed}/{n}")) for n in range(20)]
    packed = pack(json.loads(json.dumps(value)))
    assert packed is not None
    assert json.dumps(unpack(packed)) == json.dumps(value)


def test_what_is_not_plain_is_left_to_the_codec() -> None:
    assert pack({"a": date(2026, 1, 1)}) is None
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    assert pack(deep) is None


@pytest.mark.parametrize(
    "value", [{"a": [1, {"b": 2}]}, [[1], [1]], {"when": date(2026, 1, 1), "raw": b"\xff"}]
)
async def test_every_reader_has_a_copy_of_its_own(value: Any) -> None:
    cache = Cache(namespace="t", codec=JsonCodec())
    await cache.set("k", value, ttl=60)
    first: Any = await cache.get("k")
    assert first == value
    if isinstance(first, dict):
        first.clear()
    else:
        first[0].append(2)
        assert first[1] == [1]
    assert await cache.get("k") == value
    assert await cache.get_or_set("k", dict, ttl=60) == value


async def test_a_codec_of_the_callers_own_decodes_every_time() -> None:
    class Tuples(JsonCodec):
        name = "tuples"

        def decode(self, payload: bytes) -> Any:
            return [tuple(each) for each in super().decode(payload)]

    cache = Cache(namespace="t", codec=Tuples())
    await cache.set("k", [[1, 2]], ttl=60)
    assert await cache.get("k") == [(1, 2)]
