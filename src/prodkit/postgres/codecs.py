"""json and jsonb as Python values.

Binary, because asyncpg reads no composite type and writes no COPY with a text codec in it.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["add_json", "dumps", "dumps_b", "loads_b"]

_VERSION = b"\x01"  # of jsonb on the wire


async def add_json(connection: Any) -> None:
    """Register the codecs with a connection.

    Args:
        connection: asyncpg's.
    """
    for name, encoder, decoder in (("json", dumps, json.loads), ("jsonb", dumps_b, loads_b)):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=encoder, decoder=decoder, format="binary"
        )


def dumps(value: object) -> bytes:
    """Write a value as json."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def dumps_b(value: object) -> bytes:
    """Write a value as jsonb."""
    return _VERSION + dumps(value)


def loads_b(data: bytes) -> Any:
    """Read jsonb."""
    return json.loads(data[1:])
