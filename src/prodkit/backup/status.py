"""Report the age of the last verified backup to health."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from prodkit.backup.bucket import Bucket
from prodkit.backup.manifest import list_backups
from prodkit.core.check import CheckResult
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import BackupError

__all__ = ["Status"]


class Status:
    """A health check: degraded when the last verified backup is too old, or there is none.

    ::

        health = pk.Health(db, backup.Status("/backups"))

    Args:
        directory: where the backups are: a directory or a :class:`Bucket`.
        max_age: seconds; 26 hours by default, a day and some time for the backup itself.
        database: only backups of this database; None: of any.
        name: the name in health.
        runtime: clock.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | Bucket,
        *,
        max_age: float = 26 * 3600.0,
        database: str | None = None,
        name: str = "backup",
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("Status")
        check.seconds("max_age", max_age)
        check.done()
        self._place = directory if isinstance(directory, Bucket) else Path(directory)
        self._max_age = max_age
        self._database = database
        self._name = name
        self._runtime = runtime

    @property
    def name(self) -> str:
        """The name in the report."""
        return self._name

    async def check(self) -> CheckResult:
        """Look at the directory; ``details`` holds the ages in seconds."""
        place = self._place
        try:
            found = await (
                place.list_backups() if isinstance(place, Bucket) else asyncio.to_thread(list_backups, place)
            )
        except BackupError as error:
            return CheckResult("degraded", f"the backups cannot be listed: {error}", {})
        backups = [backup for backup in found if self._database in (None, backup.database)]
        now = self._runtime.clock.now()
        details: dict[str, object] = {"backups": len(backups)}
        if not backups:
            return CheckResult("degraded", "there is no backup", details)
        details["newest_age"] = (now - backups[0].created_at).total_seconds()
        proven = next((backup for backup in backups if backup.verified), None)
        if proven is None:
            return CheckResult("degraded", "no backup was ever verified", details)
        age = (now - proven.created_at).total_seconds()
        details["verified_age"] = age
        if age > self._max_age:
            return CheckResult("degraded", f"the last verified backup is {age / 3600:.0f} hours old", details)
        return CheckResult("up", "", details)
