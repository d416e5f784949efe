"""A stored value: its bytes in Redis, and whether it still holds.

::

    pk2 │ length │ ["write id","generation","barrier", tag, version, …] │ json;life;stale;cost; │ payload
     3       4                          head                                    body

A head without tags, which is most of them, holds three texts of hexadecimal digits or digits: it is taken apart at its
quotes. A head with tags is read as the JSON that it is.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NamedTuple, TypeAlias

from prodkit.cache.codec import fastest_loads
from prodkit.cache.patterns import Patterns

__all__ = ["Found", "StoredValue", "Tagged", "ValueReader"]

_MAGIC: Final = b"pk2"
_PLAIN_HEAD: Final = [b"[", b",", b",", b"]"]  # between the quotes of a head without tags
_loads: Final = fastest_loads()


class StoredValue(NamedTuple):
    """A value that holds. `left` is its remaining life in seconds, ``math.inf`` for one without end."""

    payload: bytes
    left: float
    stale: float
    cost: float
    tags: tuple[str, ...]


class Tagged(NamedTuple):
    """A value that holds if the versions of its tags do."""

    value: StoredValue
    versions: tuple[str, ...]


Found: TypeAlias = tuple["StoredValue | None", bool]
"""A value that holds, or None; and whether something unreadable lies in its place."""

_ABSENT: Final[Found] = (None, False)
_UNREADABLE: Final[Found] = (None, True)


class _Guard(NamedTuple):
    """Patterns of an outage that are still being removed: values from before `barrier` that match are gone."""

    token: str
    barrier: str
    patterns: Patterns


class ValueReader:
    """Judge the values of one codec.

    Args:
        codec: its name; a value of another one is unreadable.
    """

    __slots__ = ("_codec", "_guards")

    def __init__(self, codec: bytes) -> None:
        self._codec = codec
        self._guards: tuple[bytes, tuple[_Guard, ...]] = (b"", ())

    def judge(
        self, key: str, value: bytes | None, left: int, generation: bytes | None, guards: bytes | None
    ) -> Found | Tagged:
        """Return the value if its generation and the guards say that it holds; one with tags as :class:`Tagged`.

        Args:
            key: the key.
            value: the bytes in Redis.
            left: the milliseconds left of them; -1 for no end, -2 for no value.
            generation: of its part of the namespace.
            guards: of its part of the namespace.
        """
        if value is None or left == -2:
            return _ABSENT
        if value[:3] != _MAGIC or len(value) < 7:
            return _UNREADABLE
        end = 7 + int.from_bytes(value[3:7], "big")
        quoted = value[7:end].split(b'"')
        tags: list[str] = []
        if len(quoted) == 7:
            if quoted[::2] != _PLAIN_HEAD or not quoted[5].isdigit():
                return _UNREADABLE
            written_in, barrier = quoted[3], quoted[5]
        else:
            head = _head(value[7:end])
            if head is None:
                return _UNREADABLE
            written_in, barrier, tags = head[1].encode(), head[2].encode(), head[3:]
        if written_in != generation:
            return _ABSENT
        if guards is not None and self._guarded(key, int(barrier), guards):
            return _ABSENT
        found = self._parse(value, end, left, tuple(tags[::2]))
        if found is None:
            return _UNREADABLE
        return Tagged(found, tuple(tags[1::2])) if tags else (found, False)

    def _parse(self, value: bytes, end: int, left: int, tags: tuple[str, ...]) -> StoredValue | None:
        try:
            codec, life, stale, cost, payload = value[end:].split(b";", 4)
            if codec != self._codec:
                return None
            # PTTL is read beside the value, not with it: a newer value in between may have the longer life.
            span = math.inf if left < 0 else min(left, int(life) or left) / 1000
            return StoredValue(payload, span, int(stale) / 1000, int(cost) / 1_000_000, tags)
        except ValueError:
            return None

    def _guarded(self, key: str, barrier: int, text: bytes) -> bool:
        if text != self._guards[0]:
            try:
                guards = tuple(_Guard(token, at, Patterns(each)) for token, at, each in json.loads(text))
            except ValueError:
                return True  # unreadable: what it protects is unknown, so everything
            self._guards = (text, guards)
        return any(barrier < int(guard.barrier) and guard.patterns.match(key) for guard in self._guards[1])


def _head(text: bytes) -> list[str] | None:
    try:
        head: Any = _loads(text)
        if (
            type(head) is list
            and len(head) % 2 == 1
            and len(head) >= 3
            and "".join(head)
            and head[2].isdigit()
        ):
            return head
    except (ValueError, TypeError, AttributeError):
        pass
    return None
