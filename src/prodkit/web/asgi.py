"""Helpers that the middleware here share: headers, paths and the fields of a response."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from starlette.types import Message, Scope

__all__ = ["add_header", "header", "headers", "matches", "path_of", "prefixes", "set_default"]


def headers(scope: Scope, name: bytes) -> list[bytes]:
    """Return all values of the request header `name`, which is lower case."""
    return [value for key, value in scope.get("headers", ()) if key == name]


def header(scope: Scope, name: bytes) -> str:
    """Return the first value of the request header `name`, or an empty string."""
    for key, value in scope.get("headers", ()):
        if key == name:
            return cast("bytes", value).decode("latin-1")
    return ""


def add_header(message: Message, name: bytes, value: str) -> None:
    """Add a header to a response start, beside others of that name."""
    message["headers"] = [*message.get("headers", ()), (name, value.encode("latin-1"))]


def set_default(message: Message, name: bytes, value: str) -> None:
    """Add a header unless the response has one of that name."""
    for key, _ in message.get("headers", ()):
        if key == name or key.lower() == name:
            return
    add_header(message, name, value)


def prefixes(paths: Iterable[str], parameter: str) -> tuple[str, ...]:
    """Return checked path prefixes: ``/static/`` for a tree, ``/metrics`` for one path and what lies below."""
    found = (paths,) if isinstance(paths, str) else tuple(paths)
    for path in found:
        if not path.startswith("/"):
            raise ValueError(f"{parameter} holds paths that begin with '/', got {path!r}")
    return found


def path_of(scope: Scope) -> str:
    """Return the request's path below the app's ``root_path``, as its routes see it."""
    path: Any = scope.get("path", "")
    root: Any = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return cast("str", path[len(root) :]) or "/"
    return cast("str", path)


def matches(scope: Scope, paths: tuple[str, ...]) -> bool:
    """Return True when the request's path is one of `paths` or lies below one."""
    if not paths:
        return False
    path = path_of(scope)
    return any(path == each or path.startswith(each if each.endswith("/") else each + "/") for each in paths)
