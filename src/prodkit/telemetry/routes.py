"""The method and the route of an HTTP request, as few values as a metric or the name of a span can bear."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["METHODS", "OTHER_METHOD", "method_of", "route_of"]

METHODS: Final = frozenset(["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"])
"""The methods of RFC 9110, and PATCH."""
OTHER_METHOD: Final = "_OTHER"
"""Any other method, as the semantic conventions of OpenTelemetry call it."""


def method_of(scope: Any) -> str:
    """Return the method of the request of an ASGI scope, ``_OTHER`` for one that is not known.

    A WebSocket begins with GET.

    Args:
        scope: the request's scope.
    """
    method: str = scope.get("method", "GET" if scope["type"] == "websocket" else "")
    return method if method in METHODS else OTHER_METHOD


def route_of(scope: Any, root: str) -> str:
    """Return the route's template, as Starlette, FastAPI and Litestar leave it in the scope; empty when not known.

    A mounted or included route knows its own part of the path: what lies before it is kept where it is constant.

    Args:
        scope: the request's scope, after the app has served it.
        root: the ``root_path`` that the scope had before.
    """
    route, path = scope.get("route"), scope.get("path", "").removeprefix(root)
    pattern = getattr(route, "path_regex", None)
    if pattern is None:
        return str(scope.get("path_template") or "")
    cuts = (place for place, letter in enumerate(path) if letter == "/")
    cut = next((place for place in cuts if pattern.match(path[place:])), None)
    if cut is None:
        return ""
    before: str = path[:cut]
    own = getattr(route, "param_convertors", {})
    if before and (set(scope.get("path_params", ())) - set(own) or _has_value(scope.get("router"), path)):
        return ""  # a value stands where the mount has a parameter
    return before + str(getattr(route, "path", ""))


def _has_value(router: Any, path: str) -> bool:
    """Return True when a mount with a parameter lies on the way to `path`: the route may have one of the same name."""
    for each in getattr(router, "routes", None) or ():
        pattern = getattr(each, "path_regex", None)
        if pattern is None or not hasattr(each, "routes") or (found := pattern.match(path)) is None:
            continue
        if "{" in each.path or _has_value(each, "/" + found.groupdict().get("path", "")):
            return True
    return False
