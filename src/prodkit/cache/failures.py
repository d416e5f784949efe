"""Negative caching: chosen exceptions of a load, kept for a time of their own.

The class is stored by name and found among the classes that the caller names: nothing that lies in Redis is imported.
Only the arguments that JSON can hold are kept; no traceback, no attributes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, cast

from prodkit.cache.entry import Failure, Ttl, seconds

__all__ = ["Negative", "decode_failure", "encode_failure", "negative_ttl", "restore", "verify_negative"]

Negative = Mapping[type[Exception], Ttl]

_MARK: Final = b"\x00E"


def verify_negative(negative: object) -> None:
    """Refuse what is no mapping of exception classes to their ttl.

    Args:
        negative: as given by the caller.
    """
    if not isinstance(negative, Mapping):
        raise TypeError(f"negative must map exception classes to seconds, got {negative!r}")
    for kind, ttl in cast("Mapping[object, Ttl]", negative).items():
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise TypeError(f"negative must name classes of Exception, got {kind!r}")
        seconds(f"negative[{kind.__name__}]", ttl)


def negative_ttl(error: BaseException, negative: Negative) -> Ttl | None:
    """Return how long `error` is cached, by the most specific class that is named; None for not at all.

    Args:
        error: raised by the load.
        negative: exception classes and their ttl.
    """
    for kind in type(error).__mro__:
        if kind in negative:
            return negative[kind]
    return None


def encode_failure(error: BaseException) -> bytes | None:
    """Return the payload of `error`; None when its arguments are not plain.

    Args:
        error: raised by the load.
    """
    try:
        arguments = json.dumps(error.args, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
    return _MARK + json.dumps(_name(type(error))).encode() + b"\n" + arguments.encode()


def decode_failure(payload: bytes) -> Failure | None:
    """Return the failure in `payload`; None for a value.

    Args:
        payload: from :func:`encode_failure` or a codec.
    """
    if payload[:2] != _MARK:
        return None
    kind, _, arguments = payload[2:].partition(b"\n")
    return Failure(str(json.loads(kind)), tuple(json.loads(arguments)))


def restore(failure: Failure, negative: Negative) -> Exception | None:
    """Return the exception of `failure` when it is of a class in `negative`, or of a subclass of one.

    Args:
        failure: from memory or Redis.
        negative: the classes that the caller knows.
    """
    for kind in negative:
        for each in (kind, *_subclasses(kind)):
            if _name(each) == failure.kind:
                try:
                    return each(*failure.args)
                except Exception:  # noqa: BLE001 - a class that does not take its own args: not cached
                    return None
    return None


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _subclasses(kind: type[Exception]) -> list[type[Exception]]:
    found = []
    for each in kind.__subclasses__():
        found += [each, *_subclasses(each)]
    return found
