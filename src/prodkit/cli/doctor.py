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
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import PackageNotFoundError, files, requires, version
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import prodkit
from prodkit.cli.doctor_services import Finding, reach
from prodkit.core.secrets import reveal
from prodkit.core.urls import split_address
from prodkit.env import PostgresUrl, RedisUrl, Settings
from prodkit.errors import DISTRIBUTION, NAMESAKE, EnvError, namesake

__all__ = ["Finding", "app", "diagnose"]

app: typer.Typer = typer.Typer(
    add_completion=False, help="Check this installation and the services that the environment names."
)

_MARKS: Final = {"ok": "✓", "warning": "!", "problem": "✗", "skipped": "–"}
_STYLES: Final = {"ok": "green", "warning": "yellow", "problem": "red", "skipped": "dim"}
_CONFIG: Final = 78
_FEW_FILES: Final = 1024  # a pool of 50, Redis and 500 clients need more


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
    found += asyncio.run(reach(urls))
    return found


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    console, width = Console(), max(len(each.name) for each in findings)
    for each in findings:
        line = Text(f"{_MARKS[each.status]}  ", style=_STYLES[each.status])
        line.append(f"{each.name:<{width}}  {each.message}", style="default")
        console.print(line, soft_wrap=True)  # whole lines: paths and commands are copied from here
        if each.hint:
            console.print(Text(f"{'':{width + 5}}→ {each.hint}", style="dim"), soft_wrap=True)


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
        return _plain(environ)
    module, colon, name = settings.partition(":")
    if not colon:
        raise typer.BadParameter(f"{settings!r} is not of the form MODULE:CLASS")
    sys.path.insert(0, str(Path.cwd()))
    try:
        kind: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise typer.BadParameter(f"{settings!r} cannot be loaded: {error}") from error
    except Exception as error:  # the class only: the message of a foreign module may hold a secret
        raise typer.BadParameter(
            f"{settings!r} cannot be loaded: the module raises {type(error).__name__}"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Settings)):
        raise typer.BadParameter(f"{settings!r} is not a subclass of prodkit.env.Settings")
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
        elif scheme in ("redis", "rediss", "unix"):
            urls.setdefault("redis", text)
    return {"postgres": "", "redis": ""} | urls, [Finding("environment", "ok", f"{settings} loads")]


class _Plain(Settings):
    database_url: PostgresUrl | None = None
    redis_url: RedisUrl | None = None


def _plain(environ: Mapping[str, str]) -> tuple[dict[str, str], list[Finding]]:
    """Return DATABASE_URL and REDIS_URL where their form is right, and findings where it is not."""
    names = {"DATABASE_URL": "postgres", "REDIS_URL": "redis"}
    urls = {name: environ.get(variable, "") for variable, name in names.items()}
    given = {variable: urls[name] for variable, name in names.items() if urls[name]}
    try:
        _Plain.load(given)
    except EnvError as error:
        found = []
        for each in error.problems:
            name = names[each.variable]
            urls.pop(name, None)
            found.append(Finding(name, "problem", f"{each.variable} {each.hint}", "correct the URL"))
        return urls, found
    return urls, []
