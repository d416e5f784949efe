"""Try the services that an environment names, and say in words what is wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from prodkit.core.urls import split_address
from prodkit.errors import MissingExtraError
from prodkit.redis import RedisLink
from prodkit.redis.address import Address

__all__ = ["Finding", "Status", "reach"]

Status = Literal["ok", "warning", "problem", "skipped"]
_TIMEOUT: Final = 5.0  # seconds for each service
_CLOCK_TOLERANCE: Final = 2.0  # seconds; sessions and rate limits use the server's clock
_CREDENTIALS: Final = "check user and password in the URL"
_REASONS: Final = {
    "InvalidPasswordError": ("the password is wrong", _CREDENTIALS),
    "InvalidAuthorizationSpecificationError": ("the user is refused", _CREDENTIALS),
    "InvalidCatalogNameError": ("the database does not exist", "create it, or correct the URL's path"),
    "TooManyConnectionsError": ("no connection is left", "raise max_connections, or lower the pools"),
    "CannotConnectNowError": ("it is starting or stopping", "wait, then try again"),
    "AuthenticationError": ("the password is wrong or missing", _CREDENTIALS),
    "BusyLoadingError": ("it still loads its data", "wait, then try again"),
    "gaierror": ("the host name is unknown", "check the host in the URL, and DNS"),
    "ConnectionRefusedError": (
        "the connection is refused: nothing listens there",
        "start the server, or check host and port",
    ),
    "FileNotFoundError": ("the socket does not exist", "start the server, or check the socket's path"),
    "SSLCertVerificationError": (
        "its certificate is not trusted",
        "name its CA in the URL, or check the host",
    ),
    "SSLError": ("TLS failed", "check that the server speaks TLS on this port"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Args:
        name: the subject, such as ``postgres``.
        status: ``ok``, ``warning`` (works, with less), ``problem`` or ``skipped``.
        message: what was found.
        hint: what to do, empty when nothing is to be done.
    """

    name: str
    status: Status
    message: str
    hint: str = ""


async def reach(urls: Mapping[str, str]) -> list[Finding]:
    """Return one finding for each service.

    Args:
        urls: the URL of ``postgres`` and of ``redis``; empty where it is not configured, absent to try nothing.
    """
    probes: dict[str, tuple[Callable[[str], Awaitable[Finding]], str]] = {
        "postgres": (_postgres, "sessions, jobs and soft delete need it"),
        "redis": (_redis, "cache, limits and progress work in memory, each process for itself"),
    }
    found: list[Finding] = []
    for name, (probe, without) in probes.items():
        if name not in urls:
            continue
        if not (url := urls[name]):
            found.append(Finding(name, "skipped", f"not configured: {without}"))
            continue
        try:
            async with asyncio.timeout(_TIMEOUT):
                found.append(await probe(url))
        except TimeoutError:
            found.append(
                Finding(
                    name,
                    "problem",
                    f"no answer from {_place(url)} within {_TIMEOUT:g} s",
                    "check host, port, firewall",
                )
            )
        except ImportError as error:
            found.append(Finding(name, "problem", str(error)))
        except Exception as error:  # noqa: BLE001 - every way to fail is a finding
            # the class only: messages of drivers may repeat the URL and its password
            message, hint = _reason(error)
            found.append(Finding(name, "problem", f"{_place(url)} cannot be used: {message}", hint))
    return found


def _place(url: str) -> str:
    parts = split_address(url)
    if "," in parts.netloc:
        return parts.netloc.rpartition("@")[2]
    return f"{parts.hostname or 'the socket'}:{parts.port or ''}".rstrip(":")


def _reason(error: Exception) -> tuple[str, str]:
    """Return the failure in words and what to do about it."""
    names = [type(each).__name__ for each in _chain(error)]
    return next((_REASONS[name] for name in names if name in _REASONS), (names[0], "check the URL"))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def _postgres(url: str) -> Finding:
    try:
        import asyncpg
    except ImportError:
        raise MissingExtraError.named("asyncpg", "postgres") from None
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow(
            "select now() as now, current_setting('server_version') as version, pg_is_in_recovery() as standby,"
            " current_setting('max_connections')::int as limit"
        )
    finally:
        await connection.close()
    assert row is not None
    text = f"{row['version']} at {_place(url)}, up to {row['limit']} connections"
    if skew := _skew(row["now"]):
        return Finding(
            "postgres", "warning", f"{text}; {skew}", "synchronise the clocks (chrony, systemd-timesyncd)"
        )
    if row["standby"]:
        return Finding(
            "postgres", "warning", f"{text}; it is a standby and read-only", "connect to the primary"
        )
    return Finding("postgres", "ok", text)


async def _redis(url: str) -> Finding:
    try:
        from redis.asyncio import Redis
    except ImportError:
        raise MissingExtraError.named("redis", "redis") from None
    if Address.parse(url).kind != "single":
        return await _group(url)
    client: Any = Redis.from_url(url)
    try:
        seconds, micros = await client.time()
        server = await client.info("server")
        memory = await client.info("memory")
    finally:
        await client.aclose()
    name = "Valkey" if "valkey_version" in server else "Redis"
    number = server.get("valkey_version") or server.get("redis_version")
    text = f"{name} {number} at {_place(url)}"
    if skew := _skew(datetime.fromtimestamp(seconds + micros / 1e6, UTC)):
        return Finding(
            "redis", "warning", f"{text}; {skew}", "synchronise the clocks (chrony, systemd-timesyncd)"
        )
    if memory.get("maxmemory") and memory.get("maxmemory_policy") == "noeviction":
        return Finding(
            "redis",
            "warning",
            f"{text}; maxmemory-policy is noeviction: writes fail when it is full",
            "set `maxmemory-policy volatile-lru`",
        )
    return Finding("redis", "ok", text)


async def _group(url: str) -> Finding:
    """Try a cluster or a Sentinel group through the kit's own link."""
    async with RedisLink(url, timeout=_TIMEOUT) as link:
        result = await link.check()
    if result.status == "up":
        return Finding("redis", "ok", f"the group at {_place(url)} answers")
    return Finding(
        "redis", "problem", f"the group at {_place(url)} {result.reason}", "check its hosts and its kind"
    )


def _skew(there: datetime) -> str:
    seconds = (there - datetime.now(UTC)).total_seconds()
    return f"its clock differs by {seconds:+.1f} s" if abs(seconds) > _CLOCK_TOLERANCE else ""
