"""``prodkit doctor``: check an installation and the services that its environment names.

    prodkit doctor                       # DATABASE_URL, REDIS_URL and the installation
    prodkit doctor service.settings:Settings
    prodkit doctor --json

Exit codes: 0 nothing is wrong (warnings allowed), 1 a problem was found, 2 wrong usage, 78 invalid environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, files, requires, version
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

import prodkit
from prodkit.core.secrets import reveal
from prodkit.core.urls import split_address
from prodkit.errors import DISTRIBUTION, NAMESAKE, EnvError, namesake

__all__ = ["Finding", "app", "diagnose"]

app: typer.Typer = typer.Typer(
    add_completion=False, help="Check this installation and the services that the environment names."
)

Status = Literal["ok", "warning", "problem", "skipped"]
_MARKS: Final = {"ok": "✓", "warning": "!", "problem": "✗", "skipped": "–"}
_STYLES: Final = {"ok": "green", "warning": "yellow", "problem": "red", "skipped": "dim"}
_CONFIG: Final = 78
_TIMEOUT: Final = 5.0  # seconds for each service
_CLOCK_TOLERANCE: Final = 2.0  # seconds; sessions and rate limits use the server's clock
_FEW_FILES: Final = 1024  # a pool of 50, Redis and 500 clients need more


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


@app.command()
def doctor(
    settings: Annotated[
        str, typer.Argument(help="MODULE:CLASS of your Settings; else DATABASE_URL and REDIS_URL.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check versions, extras, files, clock and services, and list what would run degraded."""
    findings = diagnose(settings)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in findings], ensure_ascii=False, indent=2))
    else:
        _print(findings)
    if any(each.name == "environment" and each.status == "problem" for each in findings):
        raise typer.Exit(_CONFIG)
    raise typer.Exit(1 if any(each.status == "problem" for each in findings) else 0)


def diagnose(settings: str = "", environ: Mapping[str, str] | None = None) -> list[Finding]:
    """Return every finding, in the order of the report.

    Args:
        settings: ``MODULE:CLASS`` of a settings class; empty to read ``DATABASE_URL`` and ``REDIS_URL`` alone.
        environ: the environment; that of the process when None.
    """
    environ = os.environ if environ is None else environ
    found = [*_installation(), *_extras(), _open_files()]
    urls, problems = _services(settings, environ)
    found += problems
    found += asyncio.run(_reach(urls))
    return found


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for each in findings:
        mark = Text(_MARKS[each.status], style=_STYLES[each.status])
        text = Text(each.message)
        if each.hint:
            text.append(f"\n→ {each.hint}", style="dim")
        table.add_row(mark, Text(each.name), text)
    Console().print(table)


# --- installation ---------------------------------------------------------------------------------------------------


def _installation() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} ({platform.system()} {platform.machine()})")
    try:
        number = version(DISTRIBUTION)
        yield Finding("prodkit", "ok", f"{number} in {Path(prodkit.__file__).parent}")
    except PackageNotFoundError:
        yield Finding(
            "prodkit",
            "warning",
            f"{prodkit.__version__} from a source tree, not installed",
            "run `pip install -e .` in the source tree, so that extras and entry points are known",
        )
    if namesake():
        yield Finding("namesake", "problem", "another project named 'prodkit' is installed", NAMESAKE)
    elif damaged := _foreign_files():
        yield Finding(
            "namesake",
            "problem",
            f"{len(damaged)} files of this installation are missing or replaced, first {damaged[0]}",
            f"run `pip install --force-reinstall {DISTRIBUTION}`",
        )


def _foreign_files() -> list[str]:
    """Return the recorded files of the distribution that are missing on disk or have another size."""
    try:
        recorded = files(DISTRIBUTION) or []
    except PackageNotFoundError:
        return []
    damaged: list[str] = []
    for each in recorded:
        path = Path(str(each.locate()))
        if each.suffix == ".py" and (
            not path.exists() or (each.size is not None and path.stat().st_size != each.size)
        ):
            damaged.append(str(each))
    return damaged


def _extras() -> Iterator[Finding]:
    try:
        listed = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return
    missing: dict[str, list[str]] = {}
    present: list[str] = []
    for requirement in listed:
        match = re.match(r"([\w.-]+)(?:\[[\w,]+\])?\s*([^;]*)", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if match is None or (extra and extra[1] in ("all", "testing")) or "python_version" in requirement:
            continue
        package, bounds = match[1], match[2]
        try:
            number = version(package)
        except PackageNotFoundError:
            missing.setdefault(extra[1] if extra else "base", []).append(package)
            continue
        if extra:
            present.append(extra[1])
        if (lowest := re.search(r">=\s*([\d.]+)", bounds)) and _numbers(number) < _numbers(lowest[1]):
            yield Finding(
                package,
                "problem",
                f"version {number} is older than {lowest[1]}",
                f"run `pip install -U '{package}>={lowest[1]}'`",
            )
    if "base" in missing:
        yield Finding(
            "base",
            "problem",
            f"missing: {', '.join(missing.pop('base'))}",
            f"run `pip install {DISTRIBUTION}`",
        )
    whole = sorted(set(present) - set(missing))
    if whole:
        yield Finding("extras", "ok", f"installed: {', '.join(whole)}")
    if missing:
        names = ", ".join(sorted(missing))
        yield Finding(
            "extras",
            "skipped",
            f"not installed: {names}",
            f"pip install '{DISTRIBUTION}[{names.replace(' ', '')}]'",
        )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _open_files() -> Finding:
    try:
        import resource
    except ImportError:
        return Finding("open files", "skipped", "no limit is known on this system")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    message = f"{soft} may be open (hard limit {hard})"
    if soft != resource.RLIM_INFINITY and soft < _FEW_FILES:
        return Finding(
            "open files", "warning", message, "raise it: `ulimit -n 65536`, or LimitNOFILE= in the unit file"
        )
    return Finding("open files", "ok", message)


# --- services -------------------------------------------------------------------------------------------------------


def _services(settings: str, environ: Mapping[str, str]) -> tuple[dict[str, str], list[Finding]]:
    """Return the URLs to try by kind, and the findings about the environment itself."""
    if not settings:
        return {"postgres": environ.get("DATABASE_URL", ""), "redis": environ.get("REDIS_URL", "")}, []
    module, colon, name = settings.partition(":")
    if not colon:
        raise typer.BadParameter(f"{settings!r} is not of the form MODULE:CLASS")
    sys.path.insert(0, str(Path.cwd()))
    try:
        kind: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise typer.BadParameter(f"{settings!r} cannot be loaded: {error}") from error
    try:
        values = kind.load(environ)
    except EnvError as error:
        found = [
            Finding("environment", "problem", f"{each.variable}: {each.rule}", each.hint)
            for each in error.problems
        ]
        return {}, found
    urls: dict[str, str] = {}
    for field in getattr(kind, "model_fields", ()):
        value = getattr(values, field)
        text = reveal(value) if hasattr(value, "reveal") else ""
        scheme = split_address(text).scheme
        if scheme in ("postgresql", "postgres"):
            urls.setdefault("postgres", text)
        elif scheme in ("redis", "rediss", "valkey", "valkeys", "unix"):
            urls.setdefault("redis", text)
    return urls, [Finding("environment", "ok", f"{settings} loads")]


async def _reach(urls: Mapping[str, str]) -> list[Finding]:
    probes: dict[str, tuple[Callable[[str], Awaitable[Finding]], str]] = {
        "postgres": (_postgres, "sessions, jobs and soft delete need it"),
        "redis": (_redis, "cache, limits and progress work in memory, each process for itself"),
    }
    found: list[Finding] = []
    for name, (probe, without) in probes.items():
        url = urls.get(name, "")
        if not url:
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
            found.append(
                Finding(
                    name,
                    "problem",
                    f"{_place(url)} cannot be used: {_reason(error)}",
                    "check the URL and its password",
                )
            )
    return found


def _place(url: str) -> str:
    parts = split_address(url)
    return f"{parts.hostname or 'the socket'}:{parts.port or ''}".rstrip(":")


def _reason(error: Exception) -> str:
    known = {
        "InvalidPasswordError": "the password is wrong",
        "InvalidAuthorizationSpecificationError": "the user is refused",
        "InvalidCatalogNameError": "the database does not exist",
        "AuthenticationError": "the password is wrong or missing",
        "gaierror": "the host name is unknown",
        "ConnectionRefusedError": "the connection is refused: nothing listens there",
    }
    names = [type(each).__name__ for each in _chain(error)]
    return next((known[name] for name in names if name in known), names[0])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def _postgres(url: str) -> Finding:
    from prodkit.errors import MissingExtraError

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
    from prodkit.errors import MissingExtraError

    try:
        from redis.asyncio import Redis
    except ImportError:
        raise MissingExtraError.named("redis", "redis") from None
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


def _skew(there: datetime) -> str:
    seconds = (there - datetime.now(UTC)).total_seconds()
    return f"its clock differs by {seconds:+.1f} s" if abs(seconds) > _CLOCK_TOLERANCE else ""
