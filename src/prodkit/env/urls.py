"""Addresses of PostgreSQL and Redis, read as their drivers read them, and refused where they misread.

asyncpg splits user and host at the *first* ``@`` and opens a database called ``'db '`` for a trailing
blank; redis-py ignores a database that is not a number. Each such trap is a rule here, checked before
anything connects.
"""

from __future__ import annotations

import re
from typing import ClassVar, Self
from urllib.parse import parse_qsl, quote, unquote

from prodkit.core.secrets import MASK, Hidden, RuleError
from prodkit.core.urls import split_address
from prodkit.errors import InvalidError

__all__ = ["PostgresUrl", "RedisUrl"]

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SECRET_PARAMETERS = frozenset(("password", "sslpassword", "passfile"))
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class _Url(Hidden):
    """``repr`` and ``str`` mask the password; :meth:`reveal` gives the address itself."""

    __slots__ = ("_masked", "_password", "database", "host", "port", "user")
    _schemes: ClassVar[tuple[str, ...]]
    _default_port: ClassVar[int]
    _masked: str
    _password: str
    host: str
    """The host (of the first server, where there are several), or the directory of a socket."""
    port: int
    user: str
    database: str

    def __init__(self, value: str) -> None:
        """Raises InvalidError, without the value, when the driver could not use it or would misread it."""
        rule = self._read(value)
        if rule is not None:
            raise InvalidError(f"not a usable {type(self).__name__}: {rule}") from None

    def secret_values(self) -> tuple[str, ...]:
        """The password as it is, and as it stands in the address."""
        if not self._password:
            return ()
        return tuple(dict.fromkeys((self._password, unquote(self._password), quote(self._password, safe=""))))

    def __str__(self) -> str:
        return self._masked

    @classmethod
    def _parse(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise RuleError("text")
        made = cls.__new__(cls)
        rule = made._read(value)
        if rule is not None:
            raise RuleError(rule, schemes=", ".join(f"{scheme}://" for scheme in cls._schemes))
        return made

    def _read(self, value: str) -> str | None:
        """Fills the slots; returns the broken rule, if there is one."""
        rule = _shape(value, self._schemes)
        if rule is not None:
            return rule
        try:
            parts = split_address(value)
            query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query), keep_blank_values=True))
        except ValueError:
            return "url_malformed"
        auth, at, hosts = parts.netloc.partition("@")
        if not at:
            auth, hosts = "", parts.netloc
        user, _, password = auth.partition(":")
        host = hosts.split(",")[0]
        port: int | None = self._default_port
        for each in hosts.split(","):
            name, read = _host_port(each, self._default_port)
            if read is None:
                return "url_port"
            if each == host:
                host, port = name, read
        shown = {key: MASK if key in _SECRET_PARAMETERS else text for key, text in query.items()}
        masked = f"{user}{':' + MASK if password else ''}{at}{hosts}{parts.path}"
        if shown:
            masked += "?" + "&".join(f"{key}={text}" for key, text in shown.items())
        for slot, text in (
            ("_value", value),
            ("_masked", f"{parts.scheme}://{masked}"),
            ("_password", password or query.get("password", "")),
            ("host", unquote(host) or query.get("host", "").split(",")[0]),
            ("port", port),
            ("user", unquote(user) or query.get("user", "")),
            ("database", unquote(parts.path[1:]) or query.get("dbname", query.get("database", ""))),
        ):
            object.__setattr__(self, slot, text)
        return self._rules(parts.scheme, query)

    def _rules(self, scheme: str, query: dict[str, str]) -> str | None:
        raise NotImplementedError


def _shape(value: str, schemes: tuple[str, ...]) -> str | None:
    """The rules that both drivers share, on the text itself."""
    if not value.strip():
        return "blank"
    if any(char.isspace() or ord(char) < 32 or ord(char) == 127 for char in value):
        return "url_blank_inside"
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in schemes:
        return "url_scheme"
    if "#" in rest:
        return "url_hash"
    if _BAD_ESCAPE.search(rest):
        return "url_escape"
    netloc, _, path = rest.partition("/")
    netloc = netloc.partition("?")[0]
    if netloc.count("@") > 1 or "@" in path.partition("?")[0] or ("@" not in netloc and "@" in rest):
        return "url_at"  # an @ (or a / or ?) of the password that is not escaped
    return None


def _host_port(text: str, default: int) -> tuple[str, int | None]:
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            return host, None
        port = port[1:]
    else:
        host, _, port = text.partition(":")
    if not port:
        return host, default
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        return host, None
    return host, int(port)


class PostgresUrl(_Url):
    """``postgresql://user:password@host:5432/database?sslmode=require``, as asyncpg reads it."""

    __slots__ = ()
    _schemes = ("postgresql", "postgres")
    _default_port = 5432

    def _rules(self, scheme: str, query: dict[str, str]) -> str | None:
        if not self.host:
            return "url_host"
        if not self.user:
            return "url_user"
        if not self.database:
            return "url_database"
        if "sslmode" in query and query["sslmode"] not in _SSL_MODES:
            return "url_sslmode"
        return None


class RedisUrl(_Url):
    """``redis://user:password@host:6379/0``, ``rediss://…`` with TLS, ``unix:///path.sock``."""

    __slots__ = ()
    _schemes = ("redis", "rediss", "unix")
    _default_port = 6379

    def _rules(self, scheme: str, query: dict[str, str]) -> str | None:
        if scheme == "unix":
            return None if self.database else "url_host"
        if not self.host:
            return "url_host"
        number = query.get("db", self.database)
        if number and not (number.isascii() and number.isdigit()):
            return "url_redis_database"
        return None
