from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from prodkit.cache import hash_data, make_cache_key


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Tone(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int


@dataclass
class Dot:
    x: int
    y: int


ATOMS: list[Any] = [
    None, True, False, 0, 1, -1, 10**30, 0.0, 1.0, 1.5, float("inf"), "", "1", "None", "True", "a", "b", "a,b", "'",
    "s1'a'", "(", "a:b", "c", b"", b"1", b"a", "x" * 300, "x" * 301, "\x00", "é", "e\u0301", "\ud800",
    Decimal(1), Decimal("1.0"), UUID(int=1), date(2026, 1, 1), datetime(2026, 1, 1),  # noqa: DTZ001 - naive ones are keys too
    datetime(2026, 1, 1, tzinfo=UTC),
    timedelta(1), timedelta(seconds=1), Colour.RED, Colour.BLUE, Tone.RED, Path("a"), Path("b"), Point(1, 2),
    Point(2, 1), Dot(1, 2), (), [], {}, frozenset(), (1,), [1], {1}, {1: 1}, {"1": 1}, {1: "1"}, ((),), [[]],
    ("a", "b"),
    (("a", "b"),), (("a",), "b"), {"a": {"b": 1}}, {"a": 1, "b": 2}, {"a": "1,b=2"},
]  # fmt: skip


def test_different_arguments_have_different_keys() -> None:
    arguments: list[tuple[Any, ...]] = [(atom,) for atom in ATOMS]
    arguments += list(itertools.product(ATOMS, repeat=2))
    arguments += [("f", first, second) for first, second in itertools.product(ATOMS, repeat=2)]
    keys = [make_cache_key(*each) for each in arguments]
    keys += [make_cache_key("f", a=first, b=second) for first, second in itertools.product(ATOMS, repeat=2)]
    keys += [make_cache_key("f", atom, a=1) for atom in ATOMS]
    assert len(keys) >= 10_000
    assert len(set(keys)) == len(keys)
    assert max(map(len, keys)) <= 200


def test_equal_arguments_have_equal_keys() -> None:
    assert make_cache_key("f", a=1, b=2) == make_cache_key("f", b=2, a=1)
    assert make_cache_key({"a": 1, "b": [2]}) == make_cache_key({"b": [2], "a": 1})
    assert make_cache_key({"x", "y", "z"}) == make_cache_key({"z", "y", "x"})
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert make_cache_key(noon) == make_cache_key(noon.astimezone(timezone(timedelta(hours=-3))))


def test_keys_are_readable_and_can_be_matched() -> None:
    assert make_cache_key("council", 7, lang="pt") == "council:i7,{lang=s2'pt'}"
    assert make_cache_key("council", "x" * 1000).startswith("council:#")


def test_keys_are_the_same_in_every_process() -> None:
    code = (
        "from prodkit.cache import make_cache_key, hash_data;"
        "print(make_cache_key('f', {'a', 'b', 'c'}, {'k': 1, 'l': 2}), hash_data([{'a', 'b'}, 'ç']))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


def test_objects_without_a_visible_value_are_refused() -> None:
    for thing in (object(), lambda: 1, iter([1])):
        with pytest.raises(TypeError, match="pass what identifies it"):
            make_cache_key("f", thing)
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(TypeError, match="nested"):
        make_cache_key(loop)
    with pytest.raises(TypeError, match="at least one"):
        make_cache_key()


def test_pydantic_models() -> None:
    from pydantic import BaseModel

    class Query(BaseModel):
        text: str
        limit: int = 3

    assert make_cache_key(Query(text="a")) == make_cache_key(Query(limit=3, text="a"))
    assert make_cache_key(Query(text="a")) != make_cache_key(Query(text="a", limit=4))


def test_hash_data() -> None:
    assert hash_data({"a": 1, "b": None}) == hash_data({"b": None, "a": 1})
    assert hash_data([1]) != hash_data(["1"])
    assert len(hash_data("")) == 64
