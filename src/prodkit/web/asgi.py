"""The few things that every middleware here does with a scope and its headers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from starlette.types import Message, Scope

__all__ = ["add_header", "header", "headers", "matches", "prefixes", "set_default"]


def headers(scope: Scope, name: bytes) -> list[bytes]:
    """All values of the request header `name`, which is lower case."""
    return [value for key, value in scope["headers"] if key == name]


def header(scope: Scope, name: bytes) -> str:
    """The first value of the request header `name`, or an empty text."""
    for key, value in scope["headers"]:
        if key == name:
            return cast("bytes", value).decode("latin-1")
    return ""


def add_header(message: Message, name: bytes, value: str) -> None:
    """Adds a header to a response that begins, beside others of that name."""
    message.setdefault("headers", [])
    message["headers"] = [*message["headers"], (name, value.encode("latin-1"))]


def set_default(message: Message, name: bytes, value: str) -> None:
    """Adds a header unless the response has one of that name."""
    if all(key.lower() != name for key, _ in message.get("headers", ())):
        add_header(message, name, value)


def prefixes(paths: Iterable[str], what: str) -> tuple[str, ...]:
    """Checked path prefixes: ``/static/`` for a whole tree, ``/metrics`` for one path and what lies below."""
    found = (paths,) if isinstance(paths, str) else tuple(paths)
    for path in found:
        if not path.startswith("/"):
            raise ValueError(f"{what} holds paths that begin with '/', got {path!r}")
    return found


def matches(scope: Scope, paths: tuple[str, ...]) -> bool:
    """Whether the request's path is one of `paths` or lies below one."""
    path: Any = scope.get("path", "")
    return any(path == each or path.startswith(each if each.endswith("/") else each + "/") for each in paths)
