"""The backups that were verified by a real restore, as the backup service reported them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from prodkit import postgres
from prodkit.core.check import CheckResult

__all__ = ["Backups", "Verified"]


@dataclass(frozen=True, slots=True)
class Verified:
    """One verified backup."""

    name: str
    size: int
    verified_at: datetime
    hours: float


class Backups:
    """Write and read the record. As a health part it is degraded while the last backup is older than `max_hours`."""

    name = "backup"

    def __init__(self, db: postgres.Pool, *, max_hours: float | None = None) -> None:
        self._db = db
        self._max_hours = max_hours

    async def record(self, name: str, size: int, verified_at: datetime | None = None) -> None:
        """Note a backup that was verified now, or then; once. Forget those of more than ninety days ago."""
        await self._db.execute(
            """insert into backups (name, bytes, verified_at)
               select $1::text, $2::bigint, coalesce($3::timestamptz, now())
               where not exists (select from backups where name = $1::text)""",
            name,
            size,
            verified_at,
        )
        await self._db.execute("delete from backups where verified_at < now() - interval '90 days'")

    async def latest(self) -> Verified | None:
        """The newest one."""
        row = await self._db.fetchrow(
            """select name, bytes, verified_at, extract(epoch from now() - verified_at)::float8 / 3600 as hours
               from backups order by verified_at desc limit 1"""
        )
        return Verified(*row.values()) if row else None

    async def check(self) -> CheckResult:
        found = await self.latest()
        if found is None:
            return CheckResult("degraded", "no backup has been verified yet")
        details = {"name": found.name, "bytes": found.size, "hours": round(found.hours, 1)}
        if self._max_hours is not None and found.hours > self._max_hours:
            return CheckResult(
                "degraded", f"the last verified backup is {found.hours:.0f} hours old", details
            )
        return CheckResult("up", details=details)
