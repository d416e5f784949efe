"""The text that stores keep: JSON objects without NUL."""

from __future__ import annotations

import json

import pytest

from prodkit.sessions import MemoryStore
from prodkit.sessions.store import Store, json_object


def test_texts_by_key_become_one_object() -> None:
    assert json.loads(json_object({"a": "1", 'q"': '["x"]', "é": "null"})) == {"a": 1, 'q"': ["x"], "é": None}
    assert json_object({}) == "{}"


@pytest.mark.parametrize("changed", [{"k": json.dumps("a\0b")}, {"k": json.dumps({"x\0": 1})}, {"k\0": "1"}])
def test_a_nul_is_refused_with_the_name_of_its_key(changed: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"session\['k"):
        json_object(changed)


def test_a_backslash_before_u0000_is_text() -> None:
    text = json.dumps("\\u0000")
    assert json.loads(json_object({"k": text})) == {"k": "\\u0000"}
    with pytest.raises(ValueError, match="NUL"):
        json_object({"k": json.dumps("\\\0")})


def test_the_memory_store_keeps_the_protocol() -> None:
    store: Store = MemoryStore()
    missing = [name for name in vars(Store) if not name.startswith("_") and not hasattr(store, name)]
    assert missing == []
