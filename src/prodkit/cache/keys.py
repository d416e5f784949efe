"""Keys from arguments: typed, so that different arguments never share a key, and the same in every process.

Each part is written as a type and, where its length is not evident, a length: 1, "1", 1.0, True and b"1"
differ, and so do ("a:b", "c") and ("a", "b:c"). Sets and dictionaries are sorted by what was written for
their items.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import re
from base64 import urlsafe_b64encode
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

__all__ = ["hash_data", "make_cache_key", "part_text"]

_LONGEST: Final = 200
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.@-]{1,100}")
_DEEPEST: Final = 100
_BASES: Final[tuple[Any, ...]] = (str, int, float, bytes, tuple, list, dict, set, frozenset)


def make_cache_key(*parts: object, **named: object) -> str:
    """Return one key for these parts.

    ::

        make_cache_key("council", question, lang="pt")   # 'council:…'

    Takes None, bool, int, float, str, bytes, Decimal, dates and times, UUID, Enum, Path, dataclasses,
    pydantic models, and lists, tuples, sets and mappings of these. Keyword order does not matter. A leading
    plain word stays readable, so ``invalidate("council:*")`` works; the rest is readable too while the key
    is short, and a digest of 128 bits otherwise.

    Args:
        parts: values in order; put a plain word first.
        named: values by name; their order does not matter.

    Raises:
        TypeError: for an object whose value cannot be seen, such as a connection or a request.
    """
    if not parts and not named:
        raise TypeError("make_cache_key needs at least one part")
    head = parts[0] if parts else None
    written = [_write(part, 0) for part in parts]
    if named:
        items = sorted((name, _write(value, 0)) for name, value in named.items())
        written.append("{" + ",".join(f"{name}={value}" for name, value in items) + "}")
    if type(head) is str and _PLAIN.fullmatch(head):
        prefix, rest = f"{head}:", ",".join(written[1:])
    else:
        prefix, rest = ":", ",".join(written)
    if len(prefix) + len(rest) <= _LONGEST and rest.isprintable() and rest.isascii():
        return prefix + rest
    digest = hashlib.blake2b(
        rest.encode("utf-8", "surrogatepass"), digest_size=16, person=b"prodkit-key"
    ).digest()
    return f"{prefix}#{urlsafe_b64encode(digest).decode().rstrip('=')}"


def hash_data(data: object) -> str:
    """Return a digest of `data` (64 hexadecimal digits), equal in every process for equal data.

    Args:
        data: anything that :func:`make_cache_key` takes.
    """
    return hashlib.blake2b(
        _write(data, 0).encode("utf-8", "surrogatepass"), digest_size=32, person=b"prodkit-data"
    ).hexdigest()


def part_text(value: object) -> str:
    """Return `value` as a part of a key template: plain values as they are, others typed.

    Args:
        value: an argument of the decorated function.
    """
    if isinstance(value, str) or type(value) in (int, bool, UUID):
        return str(value)
    return _write(value, 0)


def _write(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is str:
        return f"s{len(value)}'{value}'"
    if kind is int:
        return f"i{value}"
    if value is None:
        return "n"
    if kind is bool:
        return "t" if value else "f"
    if kind is float:
        return f"d{value!r}" if value == value else "dnan"
    if kind is bytes or kind is bytearray:
        return f"b{value.hex()}"
    if depth >= _DEEPEST:
        raise TypeError(f"a cache key cannot be made of data nested more than {_DEEPEST} deep (or of itself)")
    deeper = depth + 1
    if kind is tuple or kind is list:
        left, right = ("(", ")") if kind is tuple else ("[", "]")
        return left + ",".join([_write(item, deeper) for item in value]) + right
    if kind is dict:
        pairs = sorted(f"{_write(key, deeper)}={_write(item, deeper)}" for key, item in value.items())
        return "{" + ",".join(pairs) + "}"
    if kind is set or kind is frozenset:
        return "<" + ",".join(sorted(_write(item, deeper) for item in value)) + ">"
    return _write_object(value, deeper)


def _write_object(value: Any, depth: int) -> str:
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, enum.Enum):
        return f"e{name}.{value.name}"
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            return f"T{value.astimezone(timezone.utc).isoformat()}"  # noqa: UP017 - one spelling of one instant
        return f"T{value.isoformat()}~{value.fold}"
    if isinstance(value, (date, time)):
        return f"{'D' if isinstance(value, date) else 'H'}{value.isoformat()}"
    if isinstance(value, timedelta):
        return f"S{value.days},{value.seconds},{value.microseconds}"
    if isinstance(value, (UUID, Decimal)):
        return f"{'u' if isinstance(value, UUID) else 'N'}{value}"
    if isinstance(value, PurePath):
        return f"p{_write(value.as_posix(), depth)}"
    return _write_record(value, name, depth)


def _write_record(value: Any, name: str, depth: int) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [
            f"{each.name}={_write(getattr(value, each.name), depth)}" for each in dataclasses.fields(value)
        ]
        return f"o{name}({','.join(fields)})"
    model_fields = getattr(type(value), "model_fields", None)
    if isinstance(model_fields, dict) and hasattr(value, "model_dump"):
        fields = [f"{each}={_write(getattr(value, each), depth)}" for each in model_fields]
        return f"o{name}({','.join(fields)})"
    for base in _BASES:
        if isinstance(value, base):
            return f"o{name}({_write(base(value), depth)})"
    raise TypeError(f"a cache key cannot be made of a {name}: pass what identifies it, such as its id")
