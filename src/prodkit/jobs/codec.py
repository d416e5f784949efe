"""Arguments and results as JSON text.

A value is stored as JSON and read back through the function's annotations, on the first call as well as on a resumed
one: a step that returns a dataclass without an annotation returns a dict the first time too, so the difference shows
in the first test and not after the first crash.
"""

from __future__ import annotations

import functools
import inspect
import json
import typing
from collections.abc import Callable
from typing import Any, Final

__all__ = ["UnstorableError", "decode", "decode_arguments", "digest", "encode", "encode_arguments"]

_PLAIN: Final = frozenset(
    {str, int, float, bool, None, type(None), Any, object, dict, list, inspect.Parameter.empty}
)


class UnstorableError(TypeError):
    """The value has no JSON form; another call of the same code returns the like."""


def encode(value: object) -> str:
    """Return `value` as JSON text.

    Args:
        value: anything that pydantic can serialise: JSON types, dataclasses, models, dates, UUIDs, sets, bytes.

    Raises:
        UnstorableError: the value has no JSON form.
    """
    from pydantic_core import PydanticSerializationError, to_json

    try:
        return to_json(value, bytes_mode="base64", inf_nan_mode="constants").decode()
    except (PydanticSerializationError, UnicodeError) as error:
        try:
            return json.dumps(value)  # a lone surrogate in a text, which UTF-8 cannot hold
        except (TypeError, ValueError):
            raise UnstorableError(f"{type(value).__name__} cannot be stored as JSON: {error}") from None


def decode(text: str, annotation: Any) -> Any:
    """Return the value of `text`, as `annotation` where that is more than a JSON type.

    Args:
        text: JSON text of :func:`encode`.
        annotation: a type, or ``inspect.Parameter.empty``.

    Raises:
        TypeError: the stored value does not fit the annotation.
    """
    adapter = _adapter(annotation) if _hashable(annotation) else None
    if adapter is None:
        return json.loads(text)
    from pydantic import ValidationError

    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        raise TypeError(f"the stored value does not fit {annotation!r}: {error.errors()[0]['msg']}") from None


def storable(text: str) -> str:
    """Return `text` without what PostgreSQL's text cannot hold: NUL, and surrogates that stand alone."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def returned(fn: Callable[..., Any]) -> Any:
    """Return the annotation of what `fn` returns, or ``Parameter.empty``."""
    return _hints(fn).get("return", inspect.Parameter.empty)


def encode_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return the arguments of a call as JSON text."""
    return encode([list(args), kwargs])


def decode_arguments(fn: Callable[..., Any], text: str) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and keyword arguments for `fn`, each as its parameter is annotated.

    Args:
        fn: the job's function.
        text: JSON text of :func:`encode_arguments`.

    Raises:
        TypeError: the arguments do not fit the function's signature or annotations.
    """
    args, kwargs = json.loads(text)
    hints = _hints(fn)
    if all(hint in _PLAIN for name, hint in hints.items() if name != "return" and _hashable(hint)) and all(
        map(_hashable, hints.values())
    ):
        return args, kwargs
    bound = inspect.signature(fn).bind(*args, **kwargs)
    parameters = inspect.signature(fn).parameters
    for name, value in bound.arguments.items():
        hint, kind = hints.get(name, inspect.Parameter.empty), parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            bound.arguments[name] = tuple(decode(encode(each), hint) for each in value)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            bound.arguments[name] = {key: decode(encode(each), hint) for key, each in value.items()}
        else:
            bound.arguments[name] = decode(encode(value), hint)
    return list(bound.args), bound.kwargs


def digest(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return a fingerprint of a step's arguments, or nothing where one of them has no JSON form.

    Args:
        args: positional arguments.
        kwargs: keyword arguments.
    """
    import hashlib

    if not args and not kwargs:
        return ""
    try:
        text = json.dumps([args, kwargs], sort_keys=True)
    except (TypeError, ValueError):
        return ""  # a client, a pool: not data, and not compared
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


@functools.lru_cache(maxsize=512)
def _adapter(annotation: Any) -> Any:
    if annotation in _PLAIN:
        return None
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError

    config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    try:
        try:
            return TypeAdapter(annotation, config=config)
        except PydanticUserError:  # models and dataclasses bring their own configuration
            return TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        return None


@functools.lru_cache(maxsize=1024)
def _hints_of(fn: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(fn)
    except (NameError, TypeError, AttributeError):
        return {}


def _hints(fn: Callable[..., Any]) -> dict[str, Any]:
    while isinstance(fn, functools.partial):
        fn = fn.func
    if not (inspect.isfunction(fn) or inspect.ismethod(fn)):
        fn = vars(type(fn)).get("__call__", fn)
    return _hints_of(getattr(fn, "__func__", fn))
