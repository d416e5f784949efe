"""json and jsonb on the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prodkit.postgres.codecs import add_json, dumps, dumps_b, loads_b


@pytest.mark.parametrize("value", [None, 1.5, "é", [1, None], {"a": {"b": []}}, "", {}])
def test_what_goes_out_comes_back(value: Any) -> None:
    assert json.loads(dumps(value)) == value
    assert dumps_b(value)[:1] == b"\x01"
    assert loads_b(dumps_b(value)) == value


def test_json_is_compact_and_keeps_its_letters() -> None:
    assert dumps({"é": [1, 2]}) == '{"é":[1,2]}'.encode()


async def test_both_types_are_registered_as_binary() -> None:
    seen: dict[str, str] = {}

    class Connection:
        async def set_type_codec(self, name: str, *, format: str, **_: Any) -> None:  # noqa: A002 - asyncpg's word
            seen[name] = format

    await add_json(Connection())
    assert seen == {"json": "binary", "jsonb": "binary"}
