"""Rules for settings as a whole: what must not run in production, and variables that belong together. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from prodkit.core.secrets import Secret
from prodkit.env.urls import PostgresUrl

__all__ = ["RULES", "broken_groups", "broken_rules"]

RULES = (
    "production_localhost",
    "production_debug",
    "production_wildcard",
    "production_https",
    "equal_secrets",
)
"""Rules that ``relaxed`` can switch off, for instance where a proxy on the same machine is the database."""

_LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - names, nothing listens
_OPEN_LISTS = ("origins", "cors", "allowed_hosts", "trusted_hosts")


def broken_rules(environment: object, values: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield ``(field, rule, other field)`` for values that must not run in `environment`.

    Args:
        environment: the value of the field ``environment``, if there is one.
        values: the fields.
    """
    if environment in ("staging", "production"):
        yield from _equal_secrets(values)
    if environment != "production":
        return
    for name, value in values.items():
        rule = _in_production(name.lower(), value)
        if rule is not None:
            yield name, rule, ""


def _in_production(name: str, value: Any) -> str | None:
    if isinstance(value, PostgresUrl):
        return "production_localhost" if value.host.lower() in _LOCAL else None
    if isinstance(value, bool):
        return "production_debug" if value and (name == "debug" or name.endswith("_debug")) else None
    if any(word in name for word in _OPEN_LISTS):
        items = value if isinstance(value, list | tuple | set | frozenset) else str(value).split(",")
        if any(str(item).strip() == "*" for item in items):
            return "production_wildcard"
    texts = value if isinstance(value, list | tuple) else (value,)
    if any(isinstance(text, str) and text.startswith("http://") and _is_public(text) for text in texts):
        return "production_https"
    return None


def _is_public(address: str) -> bool:
    """Return False for hosts of a private network, which often have no certificate."""
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return False
    if host in _LOCAL or "." not in host:
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return not host.endswith(
            (".internal", ".local", ".localhost", ".lan", ".svc", ".cluster.local", ".test")
        )


def _equal_secrets(values: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    seen: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Secret):
            first = seen.setdefault(value.reveal(), name)
            if first != name:
                yield name, "equal_secrets", first


def broken_groups(
    groups: tuple[tuple[str, ...], ...], is_set: Callable[[str], bool]
) -> Iterator[tuple[str, str]]:
    """Yield ``(field that is missing, field that is set)`` for groups that are set in part.

    Args:
        groups: fields that are set together or not at all.
        is_set: whether a field has a value.
    """
    for group in groups:
        present = [name for name in group if is_set(name)]
        if present and len(present) < len(group):
            for name in group:
                if name not in present:
                    yield name, present[0]
