"""Remove old backups, and never the last good ones."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prodkit.backup.events import BackupPruned
from prodkit.backup.locking import exclusive
from prodkit.backup.manifest import Backup, list_backups, manifest_of
from prodkit.backup.pump import hash_of
from prodkit.backup.retention import expired
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments

__all__ = ["KEEP_DAYS", "Pruned", "prune"]

KEEP_DAYS: Final = 30
"""Days that the first service on prodkit keeps its backups."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """The result of pruning.

    Args:
        removed: files that are gone, or would be with ``dry_run``.
        kept: backups that stay.
        damaged: files that are not what their record says; they stay for you to look at and count as no backup.
    """

    removed: tuple[Path, ...]
    kept: tuple[Backup, ...]
    damaged: tuple[Path, ...]


async def prune(
    directory: str | os.PathLike[str],
    *,
    days: float = KEEP_DAYS,
    keep: int = 3,
    dry_run: bool = False,
    runtime: Runtime = SYSTEM,
) -> Pruned:
    """Remove backups older than `days`, for each database on its own.

    A backup goes only where a newer one of the same database was verified and is still intact, and the newest `keep`
    that were verified stay whatever their age.

    Args:
        directory: where the backups are.
        days: age in days.
        keep: verified backups that always stay.
        dry_run: remove nothing, only say what would go.
        runtime: clock and events.

    Raises:
        BackupError: a backup is being made in the directory.
    """
    check = Arguments("prune")
    check.number("days", days, minimum=0, unit="days")
    check.integer("keep", keep, minimum=1)
    check.done()
    place = Path(directory)
    now = runtime.clock.now()

    def work() -> Pruned:
        with exclusive(place):
            intact, damaged = _sorted_out(list_backups(place), keep)
            gone: list[Backup] = []
            for database in {backup.database for backup in intact}:
                mine = [backup for backup in intact if backup.database == database]
                gone += expired(mine, now=now, days=days, keep=keep)
            for backup in gone:
                if not dry_run:
                    backup.path.unlink(missing_ok=True)
                    manifest_of(backup.path).unlink(missing_ok=True)
            paths = {backup.path for backup in gone}
            kept = tuple(backup for backup in intact if backup.path not in paths)
            return Pruned(tuple(backup.path for backup in gone), kept, tuple(damaged))

    ages = {backup.path: (now - backup.created_at).total_seconds() for backup in list_backups(place)}
    pruned = await asyncio.to_thread(work)
    if not dry_run and runtime.events.listened(BackupPruned):
        for path in pruned.removed:
            runtime.events.emit(BackupPruned(file=path.name, age=ages.get(path, 0.0)))
    return pruned


def _sorted_out(backups: Iterable[Backup], keep: int) -> tuple[list[Backup], list[Path]]:
    """Read the newest verified ones of each database again: those are what pruning relies on."""
    intact: list[Backup] = []
    damaged: list[Path] = []
    proven: dict[str, int] = {}
    for backup in backups:
        if backup.verified and proven.get(backup.database, 0) < keep:
            if hash_of(backup.path).sha256 != backup.sha256:
                damaged.append(backup.path)
                continue
            proven[backup.database] = proven.get(backup.database, 0) + 1
        intact.append(backup)
    return intact, damaged
