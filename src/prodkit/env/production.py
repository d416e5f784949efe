"""Rules for settings as a whole: what must not run in production, and variables that belong together. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from prodkit.core.secrets import Secret
from prodkit.env.urls import PostgresUrl, RedisUrl

__all__ = ["RULES", "broken_groups", "broken_rules"]

RULES = (
    "production_localhost",
    "production_debug",
    "production_wildcard",
    "production_https",
    "equal_secrets",
)
"""Rules that ``relaxed`` can switch off, for instance where a proxy on the same machine is the database."""

_LOCAL = ("localhost", "localhost.localdomain", "ip6-localhost", "0.0.0.0")  # noqa: S104 - names, nothing listens
_SERVERS = (
    "postgres://", "postgresql://", "postgresql+", "mysql://", "mysql+", "mariadb://", "mariadb+", "mongodb://",
    "mongodb+", "redis://", "rediss://", "valkey://", "amqp://", "amqps://",
)  # fmt: skip
_LISTS = (list, tuple, set, frozenset)
_ON = ("1", "true", "on", "yes", "t", "y")
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
    if isinstance(value, PostgresUrl | RedisUrl):
        return "production_localhost" if any(map(_is_local, _hosts(value.reveal()))) else None
    if name == "debug" or name.endswith("_debug"):
        on = value is True or (isinstance(value, str) and value.strip().lower() in _ON)
        return "production_debug" if on else None
    texts = [_text(item) for item in (value if isinstance(value, _LISTS) else (value,))]
    if any(word in name for word in _OPEN_LISTS) and any("*" in _split(text) for text in texts):
        return "production_wildcard"
    if any(text.lower().startswith(_SERVERS) and any(map(_is_local, _hosts(text))) for text in texts):
        return "production_localhost"
    if any(text.lower().startswith("http://") and _is_public(text) for text in texts):
        return "production_https"
    return None


def _text(value: Any) -> str:
    """The text of a plain value or of one of pydantic's addresses; nothing of other objects."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if hasattr(type(value), "unicode_string") else ""


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _hosts(address: str) -> list[str]:
    """Return every host of `address`, also those of ``?host=``."""
    try:
        parts = urlsplit(address)
        listed = parts.netloc.rpartition("@")[2].split(",")
        listed += [each for text in parse_qs(parts.query).get("host", ()) for each in text.split(",")]
    except ValueError:
        return []
    bare = [each[1:].partition("]")[0] if each.startswith("[") else each.partition(":")[0] for each in listed]
    return [each.lower().rstrip(".") for each in bare if each]


def _is_local(host: str) -> bool:
    """Return True for names and addresses of this machine."""
    if host in _LOCAL or host.endswith(".localhost"):
        return True
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return found.is_loopback or found.is_unspecified or bool(mapped and mapped.is_loopback)


def _is_public(address: str) -> bool:
    """Return False for hosts of a private network, which often have no certificate."""
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return False
    if _is_local(host) or "." not in host:
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return not host.endswith(
            (".internal", ".local", ".localhost", ".lan", ".svc", ".cluster.local", ".test")
        )


def _equal_secrets(values: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Secrets of one value, and passwords of servers that serve as a secret too; two servers may share theirs."""
    seen: dict[str, str] = {}
    passwords: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, PostgresUrl | RedisUrl):
            for text in value.secret_values()[:1]:
                passwords.setdefault(text, name)
        elif isinstance(value, Secret | SecretStr):
            text = value.get_secret_value() if isinstance(value, SecretStr) else value.reveal()
            first = seen.setdefault(text, name)
            if first != name:
                yield name, "equal_secrets", first
    for text, name in passwords.items():
        if text in seen:
            yield seen[text], "equal_secrets", name


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
