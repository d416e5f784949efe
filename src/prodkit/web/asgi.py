"""Helpers that the middleware here share: headers, paths and the fields of a response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

from starlette.types import Message, Scope, Send

__all__ = [
    "Hook",
    "add_header",
    "header",
    "headers",
    "matches",
    "on_start",
    "path_of",
    "prefixes",
    "set_default",
]

Hook: TypeAlias = Callable[[Message], Awaitable[None] | None]
"""Changes the message that begins a response, or waits for something before it is sent."""
_STARTS: Final = "prodkit.starts"
_INDEX: Final = "prodkit.headers"


def on_start(scope: Scope, send: Send, hook: Hook) -> tuple[Send, list[Hook]]:
    """Run `hook` with the message that begins the response; return the ``send`` for the app and the list of hooks.

    Layers that lie directly in each other share one ``send`` instead of one each, which would be a coroutine for each
    layer and message. The hooks of inner layers run first, as theirs would::

        request id ─ on_start ─▶ started(message): hooks[2], hooks[1], hooks[0], then the server's send
          headers  ─ on_start ─┘ appends hooks[1]
            session ─ on_start ┘ appends hooks[2]

    Call ``hooks.pop()`` when the app has returned or raised: what an outer layer then answers is not for this hook.
    A layer of another origin that puts its own ``send`` between gets a wrapper of its own around it.

    Args:
        scope: the request's scope, which remembers the shared ``send``.
        send: the ``send`` that the layer was called with.
        hook: the layer's part.
    """
    known = scope.get(_STARTS)
    if known is not None and known[0] is send:
        known[1].append(hook)
        return send, cast("list[Hook]", known[1])
    hooks = [hook]

    async def started(message: Message) -> None:
        if message["type"] == "http.response.start":
            for each in reversed(hooks):
                waiting = each(message)
                if waiting is not None:
                    await waiting
        await send(message)

    scope[_STARTS] = (started, hooks)
    return started, hooks


def _index(scope: Scope) -> tuple[Sequence[tuple[bytes, bytes]], int, dict[bytes, bytes]]:
    """Return the headers, their number and the first value of each, made once for all layers of a request.

    A layer in between that changes the headers gives the scope another list, or changes its length.
    """
    given = scope.get("headers", ())
    known = scope.get(_INDEX)
    if known is None or known[0] is not given or known[1] != len(given):
        known = scope[_INDEX] = (given, len(given), dict(reversed(given)))
    return cast("tuple[Sequence[tuple[bytes, bytes]], int, dict[bytes, bytes]]", known)


def headers(scope: Scope, name: bytes) -> list[bytes]:
    """Return all values of the request header `name`, which is lower case."""
    given, count, first = _index(scope)
    if name not in first:
        return []
    if len(first) == count:  # no header stands twice
        return [first[name]]
    return [value for key, value in given if key == name]


def header(scope: Scope, name: bytes) -> str:
    """Return the first value of the request header `name`, or an empty string."""
    found = _index(scope)[2].get(name)
    return "" if found is None else found.decode("latin-1")


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
    # "/static/" is a tree; "/metrics" is one path and what lies below.
    return path.startswith(paths) and (path in paths or path.startswith(_trees(paths)))


@lru_cache(maxsize=256)
def _trees(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each if each.endswith("/") else each + "/" for each in paths)
