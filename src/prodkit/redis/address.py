"""Read a Redis URL: one server, a Sentinel group or a cluster, and the part of it that may be shown.

::

    redis://[user:password@]host[:port][/db]           one server; rediss:// with TLS, unix:///path for a socket
    redis://a:26379,b:26379/0?sentinel=mymaster        the primary of a Sentinel group; hosts are sentinels
    redis://a:7000,b:7001?cluster=true                 a cluster; hosts are any of its nodes
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from prodkit.core.urls import split_address

__all__ = ["Address"]

_SCHEMES: Final = ("redis", "rediss", "unix")
# A message about a URL never quotes it: with an unescaped '/', '#' or '@' in the password, every part of it may be a
# piece of the password.
_HINT: Final = (
    "expected redis://[user:password@]host[:port][/db], rediss://… or unix:///path; "
    "percent-encode special characters of the password"
)
_TLS: Final = frozenset(
    ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
)
_OPTIONS: Final = _TLS | {"db", "protocol", "client_name", "cluster", "sentinel", "sentinel_username"}
_VALUES: Final = {
    "protocol": ("2", "3"),
    "ssl_cert_reqs": ("none", "optional", "required"),
    "ssl_check_hostname": ("true", "false", "yes", "no", "1", "0"),
}
_OPTIONS_SECRET: Final = frozenset(("sentinel_password",))


@dataclass(frozen=True, slots=True)
class Address:
    """The servers that a link points to.

    Args:
        kind: one server, the primary of a Sentinel group, or a cluster.
        hosts: host and port of each server named in the URL; empty for a socket.
        options: keyword arguments of a redis-py connection.
        sentinel: keyword arguments for the connections to the sentinels.
        service: the name of the Sentinel group.
        shown: the URL without user, password and options, for logs.
    """

    kind: Literal["single", "sentinel", "cluster"]
    hosts: tuple[tuple[str, int], ...]
    options: dict[str, Any] = field(repr=False)
    sentinel: dict[str, Any] = field(repr=False)
    service: str
    shown: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read `url`.

        Args:
            url: one of the forms in the module's docstring.

        Raises:
            ValueError: the URL cannot be used; no part of it is quoted.
        """
        parts = _split(url)
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        problems = _problems(parts, given)
        if problems:
            raise ValueError(f"the Redis URL {'; it '.join(problems)}: {_HINT}")
        cluster = given.pop("cluster", "false") == "true"
        service = given.pop("sentinel", "")
        sentinel = {
            name.removeprefix("sentinel_"): given.pop(name)
            for name in ("sentinel_username", "sentinel_password")
            if name in given
        }
        hosts = _hosts(parts, 26379 if service else 6379)
        login, at, _ = parts.netloc.rpartition("@")
        first = "" if parts.scheme == "unix" else _joined(hosts[:1])
        single = f"{parts.scheme}://{login}{at}{first}{parts.path}?{urlencode(given)}"
        return cls(
            kind="cluster" if cluster else "sentinel" if service else "single",
            hosts=hosts,
            options=_connection_options(single),
            sentinel=sentinel,
            service=service,
            shown=_shown(parts, hosts, service, cluster),
        )


def _split(url: str) -> SplitResult:
    try:
        parts = split_address(url)
        zero = any(port == 0 for _, port in _hosts(parts, 6379))
    except ValueError:
        raise ValueError(f"the Redis URL cannot be read: {_HINT}") from None
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"the Redis URL has an unknown scheme: {_HINT}")
    if parts.fragment or "@" in parts.path or "@" in parts.query or zero:
        raise ValueError(f"the Redis URL cannot be read: {_HINT}")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError(f"the Redis URL names no socket: {_HINT}")
    elif not all(host for host, _ in _hosts(parts, 6379)):
        raise ValueError(f"the Redis URL names no host: {_HINT}")
    elif any(any(map(str.isspace, host)) for host, _ in _hosts(parts, 6379)):
        raise ValueError(f"the Redis URL has a space in the name of a host: {_HINT}")
    elif parts.path not in ("", "/") and not parts.path[1:].isdecimal():
        raise ValueError(f"the Redis URL has a database that is no number: {_HINT}")
    return parts


def _problems(parts: SplitResult, given: dict[str, str]) -> list[str]:
    """The options that would be ignored are refused: a URL means what it says."""
    found = []
    unknown = [name for name in given if name not in _OPTIONS | _OPTIONS_SECRET]
    if unknown:
        found.append(
            f"has an option that is not known (known are {', '.join(sorted(_OPTIONS))}, sentinel_password)"
        )
    if parts.scheme != "rediss" and _TLS & given.keys():
        found.append("has ssl_ options without the scheme rediss://")
    if given.get("cluster", "false") not in ("true", "false"):
        found.append("has a cluster= that is neither true nor false")
    found += [
        f"has an option {name}= that is none of {', '.join(values)}"
        for name, values in _VALUES.items()
        if name in given and given[name].lower() not in values
    ]
    found += [
        f"has an option {name}= that is no file"
        for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
        if name in given and not Path(given[name]).is_file()
    ]
    cluster = given.get("cluster") == "true"
    if parts.scheme == "unix" and (cluster or "sentinel" in given):
        found.append("has a socket, which is neither a cluster nor a sentinel")
    if "sentinel" in given and (cluster or not given["sentinel"]):
        found.append("has a sentinel= without the name of a group, or beside cluster=true")
    if "," in parts.netloc and not cluster and "sentinel" not in given:
        found.append("names several hosts, so it needs ?cluster=true or ?sentinel=GROUP")
    if cluster and (parts.path.strip("/") not in ("", "0") or given.get("db", "0") != "0"):
        found.append("names a database, and a cluster has only database 0")
    return found


def _hosts(parts: SplitResult, port: int) -> tuple[tuple[str, int], ...]:
    if parts.scheme == "unix":
        return ()
    found = []
    for each in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"redis://{each}")
        found.append((unquote(one.hostname or ""), one.port if one.port is not None else port))
    return tuple(found)


def _joined(hosts: tuple[tuple[str, int], ...]) -> str:
    return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in hosts)


def _connection_options(url: str) -> dict[str, Any]:
    from redis.asyncio.connection import parse_url

    try:
        options: dict[str, Any] = dict(parse_url(url))
        if "protocol" in options:
            options["protocol"] = int(options["protocol"])
    except ValueError:
        raise ValueError(f"the Redis URL has an option that cannot be read: {_HINT}") from None
    return options


def _shown(parts: SplitResult, hosts: tuple[tuple[str, int], ...], service: str, cluster: bool) -> str:
    if parts.scheme == "unix":
        return f"unix://{unquote(parts.path)}"
    where = f"{parts.scheme}://{_joined(hosts)}"
    if cluster:
        return f"{where}?cluster=true"
    where = f"{where}/{parts.path.strip('/') or '0'}"
    return f"{where}?sentinel={service}" if service else where
