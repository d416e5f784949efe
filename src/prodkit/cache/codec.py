"""Values to bytes and back. Never pickle: whoever can write to Redis must not be able to run code here."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID

__all__ = ["Codec", "JsonCodec", "immutable"]

_MARK: Final = "$pk"
_DUMP: Final[dict[type, tuple[str, Callable[[Any], Any]]]] = {
    bytes: ("b", lambda value: b64encode(value).decode()),
    datetime: ("dt", datetime.isoformat),
    date: ("d", date.isoformat),
    time: ("t", time.isoformat),
    timedelta: ("td", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: ("n", str),
    UUID: ("u", str),
}
_LOAD: Final[dict[str, Callable[[Any], Any]]] = {
    "b": b64decode,
    "dt": datetime.fromisoformat,
    "d": date.fromisoformat,
    "t": time.fromisoformat,
    "td": lambda parts: timedelta(*parts),
    "n": Decimal,
    "u": UUID,
}
_IMMUTABLE: Final = frozenset((str, int, float, bool, type(None), bytes, *_DUMP))


class Codec(Protocol):
    """Your own way to bytes, for :class:`Cache`."""

    @property
    def name(self) -> str:
        """Short and stable: a payload with another name is a miss."""
        ...

    def encode(self, value: Any) -> bytes:
        """Raises TypeError for what it cannot take."""
        ...

    def decode(self, payload: bytes) -> Any:
        """Whatever this raises, the payload counts as corrupt, and as a miss."""
        ...


class JsonCodec:
    """JSON, and besides bytes, dates and times, Decimal and UUID. Tuples come back as lists, as JSON has it.

    Dictionary keys must be text: JSON would silently turn 1 into "1". NaN and infinities are refused.
    """

    name = "json"

    def encode(self, value: Any) -> bytes:
        dumped = 0

        def dump(item: Any) -> Any:
            nonlocal dumped
            kind = _DUMP.get(type(item))
            if kind is None:
                raise TypeError(
                    f"a {type(item).__qualname__} cannot be cached as JSON: convert it, or give a codec"
                )
            dumped += 1
            return {_MARK: kind[0], "v": kind[1](item)}

        _check_keys(value)
        try:
            text = json.dumps(value, default=dump, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            payload = text.encode()
        except (ValueError, RecursionError) as error:
            raise TypeError(f"this value cannot be cached as JSON: {error}") from None
        # The first byte says whether the marks are ours; a caller's own "$pk" in a plain document means
        # nothing.
        if not dumped:
            return b"j" + payload
        if text.count(f'"{_MARK}":') != dumped:
            raise TypeError(f"{_MARK!r} as a key beside bytes, dates and the like cannot be cached as JSON")
        return b"J" + payload

    def decode(self, payload: bytes) -> Any:
        kind, text = payload[:1], payload[1:]
        if kind == b"j":
            return json.loads(text)
        if kind == b"J":
            return json.loads(text, object_hook=_restore)
        raise ValueError("not a payload of this codec")

    def __repr__(self) -> str:
        return "JsonCodec()"


def _check_keys(value: Any) -> None:
    """Refuses keys that are no text, without recursion: documents may be deep."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            for key, each in item.items():
                if type(key) is not str:
                    raise TypeError(
                        f"dictionary keys must be str to be cached as JSON, got {type(key).__name__}"
                    )
                if isinstance(each, (dict, list, tuple)):
                    todo.append(each)
        elif isinstance(item, (list, tuple)):
            todo += [each for each in item if isinstance(each, (dict, list, tuple))]


def _restore(item: dict[str, Any]) -> Any:
    kind = item.get(_MARK)
    return item if kind is None else _LOAD[kind](item["v"])


def immutable(value: object) -> bool:
    """Whether `value` can be handed to every reader as it is."""
    return type(value) in _IMMUTABLE
