"""A stored value: its bytes in Redis, and whether it still holds.

::

    pk2 │ length │ ["write id","generation","barrier", tag, version, …] │ json;life;stale;cost; │ payload
     3       4                          head                                    body

A head without tags, which is most of them, is read by one regular expression. A head with tags is read as the JSON
that it is.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NamedTuple, TypeAlias

from prodkit.cache.codec import fastest_loads
from prodkit.cache.entry import Entry
from prodkit.cache.patterns import Patterns

__all__ = ["Found", "StoredValue", "Tagged", "Unchanged", "ValueReader"]

_MAGIC: Final = b"pk2"
_loads: Final = fastest_loads()


class StoredValue(NamedTuple):
    """A value that holds. `left` is its remaining life in seconds, ``math.inf`` for one without end.

    `head` and `generation` recognise it when it is read again; they are empty for a value with tags.
    """

    payload: bytes
    left: float
    stale: float
    cost: float
    tags: tuple[str, ...]
    head: bytes = b""
    generation: bytes | None = None


class Unchanged(NamedTuple):
    """The value that `entry` was made of, with `left` milliseconds to live; -1 for no end."""

    entry: Entry
    left: int


class Tagged(NamedTuple):
    """A value that holds if the versions of its tags do."""

    value: StoredValue
    versions: tuple[str, ...]


Found: TypeAlias = tuple["StoredValue | Unchanged | None", bool]
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

    __slots__ = ("_codec", "_generation", "_guards", "_plain")

    def __init__(self, codec: bytes) -> None:
        self._codec = codec
        self._generation: bytes | None = None  # one object for all entries that were read in it
        # magic, length, ["write id","generation","barrier"], codec;life;stale;cost;
        self._plain = re.compile(
            rb'(pk2(....)\["[^"\\]*","([^"\\]*)","([0-9]+)"\])%b;([0-9]+);([0-9]+);([0-9]+);'
            % re.escape(codec),
            re.DOTALL,
        ).match
        self._guards: tuple[bytes, tuple[_Guard, ...]] = (b"", ())

    def judge(
        self,
        key: str,
        value: bytes | None,
        left: int,
        generation: bytes | None,
        guards: bytes | None,
        known: Entry | None = None,
    ) -> Found | Tagged:
        """Return the value if its generation and the guards say that it holds; one with tags as :class:`Tagged`.

        Args:
            key: the key.
            value: the bytes in Redis.
            left: the milliseconds left of them; -1 for no end, -2 for no value.
            generation: of its part of the namespace.
            guards: of its part of the namespace.
            known: the entry in memory; when `value` is what it was made of, the answer is :class:`Unchanged`.
        """
        if value is None or left == -2:
            return _ABSENT
        if (
            known is not None
            and guards is None
            and known.head
            and known.generation == generation
            and value.startswith(known.head)
            and (left < 0) == (known.expires_at == math.inf)
        ):
            return Unchanged(known, left), False
        plain = self._plain(value)
        if plain is not None:
            head, length, written_in, barrier, life, stale, cost = plain.groups()
            if int.from_bytes(length, "big") != len(head) - 7:
                return _UNREADABLE
            if written_in != generation or (guards is not None and self._guarded(key, int(barrier), guards)):
                return _ABSENT
            # PTTL is read beside the value, not with it: a newer value in between may have the longer life.
            span = math.inf if left < 0 else min(left, int(life) or left) / 1000
            if generation == self._generation:
                generation = self._generation
            else:
                self._generation = generation
            payload = value[plain.end() :]
            found = StoredValue(payload, span, int(stale) / 1000, int(cost) / 1e6, (), head, generation)
            return found, False
        return self._judge(key, value, left, generation, guards)

    def _judge(
        self, key: str, value: bytes, left: int, generation: bytes | None, guards: bytes | None
    ) -> Found | Tagged:
        if value[:3] != _MAGIC or len(value) < 7:
            return _UNREADABLE
        end = 7 + int.from_bytes(value[3:7], "big")
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
            span = math.inf if left < 0 else min(left, int(life) or left) / 1000
            return StoredValue(payload, span, int(stale) / 1000, int(cost) / 1_000_000, tags)
        except ValueError:
            return None

    def _guarded(self, key: str, barrier: int, text: bytes) -> bool:
        if text != self._guards[0]:
            try:
                guards = tuple(_Guard(token, at, Patterns(each)) for token, at, each in json.loads(text))
            except (ValueError, TypeError):
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
