"""The address of a database: its hosts, and what is wrong with it, said without a piece of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlunsplit

from prodkit.core.urls import split_address

__all__ = ["MODES", "Address", "Host", "for_driver", "parse"]

_SCHEMES: Final = ("postgresql", "postgres")
MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TARGETS: Final = ("any", "primary", "standby", "prefer-standby", "read-write", "read-only")
_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_MAX_PORT: Final = 65535
# Parameters of libpq that asyncpg does not know: it would send them to the server, which refuses them.
_LIBPQ_ONLY: Final = frozenset(
    {
        "channel_binding", "connect_timeout", "fallback_application_name", "gssdelegation", "gssencmode", "keepalives",
        "keepalives_count", "keepalives_idle", "keepalives_interval", "load_balance_hosts", "max_protocol_version",
        "min_protocol_version", "sslcertmode", "sslcompression", "sslsni", "tcp_user_timeout",
    }
)  # fmt: skip
_DEMANDS: Final = ("channel_binding", "gssencmode", "sslcertmode")
_UNKNOWN: Final = ("hostaddr", "require_auth", "requirepeer")


@dataclass(frozen=True, slots=True)
class Host:
    """One server of an address; None stands for the default of libpq's environment variables."""

    name: str | None
    port: int | None


@dataclass(frozen=True, slots=True)
class Address:
    """An address that was read.

    Args:
        hosts: the servers, in order; empty when the address names none.
        target: ``target_session_attrs``, empty when it is not given.
        application_name: empty when it is not given.
        problem: one sentence about what is wrong with it, without a piece of it; empty when nothing is.
    """

    hosts: tuple[Host, ...] = ()
    target: str = ""
    application_name: str = ""
    problem: str = ""


def parse(dsn: str, *, sslmode: str = "", files: bool = True) -> Address:
    """Read the hosts of a URL and look for the usual mistakes. What libpq alone understands passes unread.

    Args:
        dsn: the address.
        sslmode: the mode that is used in place of the address's own; empty: that one.
        files: also look for the certificates that it names; False before they have to be there.
    """
    scheme, separator, rest = dsn.partition("://")
    if not separator:
        return Address(problem="it must begin with postgresql://")
    if scheme not in _SCHEMES:
        return Address(problem="its scheme must be postgresql://, without a driver such as +asyncpg")
    if problem := _unescaped(rest):
        return Address(problem=problem)
    try:
        query = {name: values[-1] for name, values in parse_qs(split_address(dsn).query).items()}
    except ValueError:
        return Address(problem="its host is not written as a URL has it")
    target = query.get("target_session_attrs", "")
    if target and target not in _TARGETS:
        return Address(problem=f"target_session_attrs must be one of {', '.join(_TARGETS)}")
    if problem := _demand(query):
        return Address(problem=problem)
    try:
        hosts = _hosts(rest, query)
    except ValueError as error:
        return Address(problem=str(error))
    name = query.get("application_name", "")
    return Address(hosts, target, name, _tls(query, sslmode or query.get("sslmode", ""), files))


def for_driver(dsn: str, *, one_host: bool = False) -> str:
    """Return `dsn` without the parameters that asyncpg does not know and the pool sees to itself.

    Args:
        dsn: the address.
        one_host: leave the hosts out, for a connect to one of them: some Pythons cannot read a list with IPv6 in it.
    """
    parts = split_address(dsn)
    kept = [each for each in parts.query.split("&") if unquote(each.partition("=")[0]) not in _LIBPQ_ONLY]
    login, at, hosts = parts.netloc.rpartition("@")
    place = f"{login}{at}" if one_host and "," in hosts else parts.netloc
    if place == parts.netloc and "&".join(kept) == parts.query:
        return dsn
    return urlunsplit(parts._replace(netloc=place, query="&".join(kept)))


def _unescaped(rest: str) -> str:
    head = rest.partition("?")[0]
    hint = "must be percent-encoded (%23 for #, %2F for /, %3F for ?, %40 for @)"
    if "#" in rest:
        return f"a # in the user name or password {hint}"
    if head.count("@") > 1:
        return f"an @ in the user name or password {hint}"
    if "@" in head and "/" in head.partition("@")[0]:
        return f"a / in the user name or password {hint}"
    if "?" in rest and "@" in rest.partition("?")[2] and "@" not in head:
        return f"a ? in the user name or password {hint}"
    return ""


def _hosts(rest: str, query: dict[str, str]) -> tuple[Host, ...]:
    location = rest.partition("?")[0].partition("/")[0].rpartition("@")[2]
    if "host" in query:
        location = query["host"]
    if not location:
        return ()
    hosts = []
    for each in location.split(","):
        name, port = each, ""
        if each.startswith("["):
            name, bracket, tail = each[1:].partition("]")
            if not bracket:
                raise ValueError("a [ in its host has no ]")
            port = tail.removeprefix(":")
        elif not each.startswith("/"):
            name, _, port = each.partition(":")
        if port and (not port.isdigit() or not 0 < int(port) <= _MAX_PORT):
            raise ValueError(f"its port must be a number from 1 to {_MAX_PORT}")
        hosts.append(Host(unquote(name) or None, int(port) if port else None))
    ports = query.get("port", "").split(",") if query.get("port") else []
    if any(not port.isdigit() or not 0 < int(port) <= _MAX_PORT for port in ports):
        raise ValueError(f"its port must be a number from 1 to {_MAX_PORT}")
    if len(ports) == len(hosts):
        hosts = [Host(host.name, int(port)) for host, port in zip(hosts, ports, strict=True)]
    elif len(ports) == 1:
        hosts = [Host(host.name, int(ports[0])) for host in hosts]
    return tuple(hosts)


def _demand(query: dict[str, str]) -> str:
    """Return the sentence about a demand that asyncpg cannot keep; ignoring it would be less safe than was asked."""
    for name in _DEMANDS:
        if query.get(name) == "require":
            return (
                f"asyncpg cannot keep {name}=require: leave it out, and choose sslmode=verify-full if you can"
            )
    found = next((name for name in _UNKNOWN if name in query), "")
    return f"asyncpg does not know {found}: leave it out" if found else ""


def _tls(query: dict[str, str], mode: str, files: bool) -> str:
    if mode and mode not in MODES:
        return f"sslmode must be one of {', '.join(MODES)}"
    if not files:
        return ""
    for name in _FILES:
        if name in query and query[name] != "system" and not Path(query[name]).is_file():
            return f"{name} names a file that does not exist or cannot be read"
    default = Path("~/.postgresql/root.crt").expanduser()
    named = "sslrootcert" in query or "PGSSLROOTCERT" in os.environ
    if mode.startswith("verify-") and not named and not default.is_file():
        return f"sslmode={mode} needs sslrootcert=FILE, or the certificates in {default}"
    return ""
