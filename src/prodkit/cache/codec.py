"""Values to bytes and back. Never pickle: a writer of Redis must not be able to run code here."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID

from prodkit.errors import MissingExtraError

__all__ = [
    "IMMUTABLE",
    "Codec",
    "JsonCodec",
    "MsgpackCodec",
    "RecordCodec",
    "codec_named",
    "fastest_loads",
    "immutable",
]

_MARK: Final = "$pk"
_MANY_DIGITS: Final = re.compile(rb"\d{19}")
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
IMMUTABLE: Final = frozenset((str, int, float, bool, type(None), bytes, *_DUMP))


class Codec(Protocol):
    """A way to bytes, for :class:`Cache`."""

    @property
    def name(self) -> str:
        """A short and stable name: a payload with another one is a miss."""
        ...

    def encode(self, value: Any) -> bytes:
        """Return the bytes of `value`; raise TypeError for a value that it cannot take."""
        ...

    def decode(self, payload: bytes) -> Any:
        """Return the value in `payload`; any error it raises makes the payload a miss, counted as corrupt."""
        ...


class JsonCodec:
    """JSON with bytes, dates and times, Decimal and UUID. Tuples come back as lists, as JSON has it.

    Dictionary keys must be text: JSON would silently turn 1 into "1". NaN and infinities are refused. orjson decodes
    where it is installed.
    """

    name: str = "json"

    def __init__(self) -> None:
        self._loads = fastest_loads()

    def encode(self, value: Any) -> bytes:
        """Return the bytes of `value`.

        Args:
            value: a document of plain values.

        Raises:
            TypeError: something in it is no such value.
        """
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
        # The first byte says whether the marks are ours; a caller's own "$pk" in a plain document means nothing.
        if not dumped:
            return b"j" + payload
        if text.count(f'"{_MARK}":') != dumped:
            raise TypeError(f"{_MARK!r} as a key beside bytes, dates and the like cannot be cached as JSON")
        return b"J" + payload

    def decode(self, payload: bytes) -> Any:
        """Return the value in `payload`.

        Args:
            payload: from :meth:`encode`.
        """
        kind, text = payload[:1], payload[1:]
        if kind == b"j":
            return self._loads(text)
        if kind == b"J":
            return json.loads(text, object_hook=_restore)
        raise ValueError("not a payload of this codec")

    def __repr__(self) -> str:
        return "JsonCodec()"


class MsgpackCodec:
    """MessagePack, for binary data and keys that are no text. Tuples come back as lists.

    Takes what :class:`JsonCodec` takes, and dictionaries with keys of int, bytes, bool or None. Needs the package
    ``msgpack``.
    """

    name: str = "msgpack"

    def __init__(self) -> None:
        try:
            import msgpack
        except ImportError:
            raise MissingExtraError(
                "codec='msgpack' needs the package msgpack: pip install msgpack",
                extra="redis",
                package="msgpack",
            ) from None
        self._msgpack: Any = msgpack

    def encode(self, value: Any) -> bytes:
        """Return the bytes of `value`.

        Args:
            value: a document of plain values.

        Raises:
            TypeError: something in it is no such value.
        """
        try:
            packed: bytes = self._msgpack.packb(value, default=self._pack)
        except (ValueError, OverflowError, RecursionError) as error:
            raise TypeError(f"this value cannot be cached as MessagePack: {error}") from None
        return packed

    def decode(self, payload: bytes) -> Any:
        """Return the value in `payload`.

        Args:
            payload: from :meth:`encode`.
        """
        return self._msgpack.unpackb(payload, ext_hook=self._unpack, strict_map_key=False)

    def _pack(self, item: Any) -> Any:
        kind = _DUMP.get(type(item))
        if kind is None:
            raise TypeError(
                f"a {type(item).__qualname__} cannot be cached as MessagePack: convert it, or give a codec"
            )
        return self._msgpack.ExtType(1, json.dumps([kind[0], kind[1](item)]).encode())

    def _unpack(self, code: int, data: bytes) -> Any:
        if code != 1:
            raise ValueError("not an extension of this codec")
        kind, value = json.loads(data)
        return _LOAD[kind](value)

    def __repr__(self) -> str:
        return "MsgpackCodec()"


class RecordCodec:
    """Values of one type: a dataclass, a pydantic model, or a list or dictionary of them.

    ::

        profiles = Cache(redis, namespace="profiles", codec=RecordCodec(Profile, version=2))

    Every read is validated against the type. Raise `version` when the type changes in a way that old payloads do not
    fit: they are then misses, and processes of both versions can share a Redis.

    Args:
        kind: the type.
        version: of its schema.
    """

    def __init__(self, kind: Any, *, version: int = 1) -> None:
        from pydantic import TypeAdapter

        self._adapter: TypeAdapter[Any] = TypeAdapter(kind)
        label = f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', kind)}"
        digest = hashlib.blake2b(label.encode(), digest_size=6).hexdigest()
        self.name: str = f"record-{digest}-{version}"

    def encode(self, value: Any) -> bytes:
        """Return the bytes of `value`.

        Args:
            value: of the type.

        Raises:
            TypeError: it is not of the type.
        """
        try:
            return bytes(self._adapter.dump_json(self._adapter.validate_python(value), warnings="error"))
        except ValueError as error:
            raise TypeError(f"this value cannot be cached as {self.name}: {type(error).__name__}") from error

    def decode(self, payload: bytes) -> Any:
        """Return the value in `payload`, validated.

        Args:
            payload: from :meth:`encode`.
        """
        return self._adapter.validate_json(payload)

    def __repr__(self) -> str:
        return f"RecordCodec({self.name!r})"


def codec_named(name: str) -> Codec:
    """Return the codec of that name.

    Args:
        name: ``json`` or ``msgpack``.

    Raises:
        ValueError: there is none.
    """
    if name == "json":
        return JsonCodec()
    if name == "msgpack":
        return MsgpackCodec()
    raise ValueError(f"Cache: codec must be 'json', 'msgpack' or a Codec, got {name!r}")


def fastest_loads() -> Callable[[bytes], Any]:
    """Return orjson's ``loads`` where it is installed, else json's; both give the same values."""
    try:
        import orjson
    except ImportError:
        return json.loads

    def loads(text: bytes) -> Any:
        # orjson reads integers beyond 64 bits as floats, so texts with that many digits in a row go to json.
        return json.loads(text) if len(text) > 18 and _MANY_DIGITS.search(text) else orjson.loads(text)

    return loads


def _check_keys(value: Any) -> None:
    """Refuse keys that are no text, without recursion: documents may be deep."""
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
    """Return whether `value` can be handed to every reader as it is.

    Args:
        value: a decoded value.
    """
    return type(value) in IMMUTABLE
