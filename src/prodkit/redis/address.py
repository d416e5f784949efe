"""A Redis URL, taken apart: what redis-py needs, and what may be shown."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

__all__ = ["connection_options", "shown"]

_SCHEMES: Final = ("redis", "rediss", "unix")
# A message about a URL never quotes it: with an unescaped '/', '#' or '@' in the password, every part of it
# may be a piece of the password.
_HINT: Final = (
    "expected redis://[user:password@]host[:port][/db], rediss://… or unix:///path; "
    "percent-encode special characters of the password"
)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"the Redis URL cannot be read: {_HINT}") from None
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"the Redis URL has an unknown scheme: {_HINT}")
    if parts.fragment or "@" in parts.path or "@" in parts.query or port == 0:
        raise ValueError(f"the Redis URL cannot be read: {_HINT}")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError(f"the Redis URL names no socket: {_HINT}")
    elif not parts.hostname:
        raise ValueError(f"the Redis URL names no host: {_HINT}")
    elif parts.path not in ("", "/") and not parts.path[1:].isdecimal():
        raise ValueError(f"the Redis URL has a database that is no number: {_HINT}")
    return parts


def connection_options(url: str) -> dict[str, Any]:
    """What a redis-py connection pool takes for `url`. Raises ValueError, which shows no part of it."""
    from redis.asyncio.connection import parse_url

    _split(url)
    try:
        return dict(parse_url(url))
    except ValueError:
        raise ValueError(f"the Redis URL has an option that cannot be read: {_HINT}") from None


def shown(url: str) -> str:
    """`url` for logs: where it points to, without user, password and options."""
    parts = _split(url)
    if parts.scheme == "unix":
        return f"unix://{unquote(parts.path)}"
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}:{parts.port or 6379}/{parts.path.strip('/') or '0'}"
