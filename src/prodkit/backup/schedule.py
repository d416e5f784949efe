"""Back up every day, inside the service or as a process of its own.

::

    03:00 ─▶ dump ─▶ verify ─▶ upload ─▶ prune ─▶ 03:00 of the next day
                └─ a step failed: again after `retry`, until it is done
    start ─▶ at once, when the last verified backup is from before the last 03:00
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Final

from prodkit.backup.address import Address
from prodkit.backup.bucket import Bucket
from prodkit.backup.dumping import dump
from prodkit.backup.locking import exclusive
from prodkit.backup.manifest import Backup, list_backups
from prodkit.backup.pruning import KEEP_DAYS, prune
from prodkit.backup.status import Status
from prodkit.backup.verifying import verify
from prodkit.core.check import CheckResult
from prodkit.core.deadline import Deadline
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable
from prodkit.core.validate import Arguments

__all__ = ["Schedule"]

_LOCK: Final = ".schedule"
_LOOK: Final = 60.0  # seconds between looks at the wall clock, which may be set or have slept


class Schedule(Managed):
    """Dump, verify, upload and prune once a day.

    ::

        nightly = backup.Schedule(settings.database_url, "/backups", at="03:00", bucket=bucket)
        health = pk.Health(db, nightly)
        async with pk.running(db, nightly): ...

    A step that fails is reported by its event (``backup.failed``) and repeated after `retry`. Processes that share the
    directory make one backup together: the one that comes second finds it done. For a schedule that survives the
    process and is seen by an operator, call :meth:`run` from a durable job (:mod:`prodkit.jobs`) instead of
    :meth:`start`.

    Args:
        url: the database; a role that may read everything in it.
        directory: where backups are kept.
        at: the time of day, in UTC, as ``"03:00"``.
        bucket: also keep them there.
        check: restore each backup into a throw-away database and compare; without it nothing is ever pruned.
        verify_url: a server to verify on; None: a server of our own, for which ``initdb`` must be installed.
        recipients: public age keys that the files are encrypted for.
        identity: the private age key, to verify encrypted backups.
        days: age in days after which backups are removed, here and in the bucket.
        keep: verified backups that always stay.
        prune_bucket: also remove old backups from the bucket. False leaves that to another key, or to a lifecycle rule
            of the bucket, so that the key of this service need not be able to delete.
        retry: seconds after a failure.
        name: the name in health.
        runtime: clock and events.
    """

    def __init__(
        self,
        url: str | Revealable,
        directory: str | os.PathLike[str],
        *,
        at: str = "03:00",
        bucket: Bucket | None = None,
        check: bool = True,
        verify_url: str | Revealable | None = None,
        recipients: Sequence[str] = (),
        identity: str | Revealable | None = None,
        days: float = KEEP_DAYS,
        keep: int = 3,
        prune_bucket: bool = True,
        retry: float = 900.0,
        name: str = "backup",
        runtime: Runtime = SYSTEM,
    ) -> None:
        arguments = Arguments("Schedule")
        self._at = time(3)
        try:
            self._at = datetime.strptime(at, "%H:%M").time()  # noqa: DTZ007 - a time of day, in UTC
        except (ValueError, TypeError):
            arguments.value('at must be a time of day such as "03:00", in UTC', at)
        arguments.instance("bucket", bucket, Bucket, "a Bucket", optional=True)
        arguments.that(not isinstance(recipients, str), "recipients must be a list of keys, not one text")
        arguments.that(
            not (recipients and check and identity is None),
            "encrypted backups are verified with identity= (or check=False)",
        )
        arguments.number("days", days, minimum=0, unit="days")
        arguments.integer("keep", keep, minimum=1)
        arguments.instance("prune_bucket", prune_bucket, bool, "True or False")
        arguments.seconds("retry", retry)
        arguments.done()
        self.name: str = name
        self._url, self._place, self._bucket = url, Path(directory), bucket
        self._check, self._verify_url = check, verify_url
        self._recipients, self._identity = tuple(recipients), identity
        self._days, self._keep, self._retry = days, keep, retry
        self._prune_bucket = prune_bucket
        self._runtime = runtime
        self._status = Status(bucket or self._place, name=name, runtime=runtime)
        self._task: asyncio.Task[None] | None = None
        self.last_error: str = ""

    async def run(self) -> Backup:
        """Make one backup now: dump, verify, upload, prune.

        Raises:
            BackupError: a step failed; those before it are done.
        """
        made = await dump(self._url, self._place, recipients=self._recipients, runtime=self._runtime)
        return await self._finish(made)

    async def _finish(self, made: Backup) -> Backup:
        if self._check and not made.verified:
            made = await verify(
                made.path, url=self._verify_url, identity=self._identity, runtime=self._runtime
            )
        if self._bucket is not None:
            await self._bucket.upload(made)
        await prune(self._place, days=self._days, keep=self._keep, runtime=self._runtime)
        if self._bucket is not None and self._prune_bucket:  # last: its key may be one that must not delete
            await self._bucket.prune(days=self._days, keep=self._keep)
        return made

    def due(self, now: datetime) -> datetime:
        """Return the last instant at or before `now` at which a backup was due.

        Args:
            now: an aware instant.
        """
        today = datetime.combine(now.astimezone(UTC).date(), self._at, UTC)
        return today if today <= now else today - timedelta(days=1)

    async def _run_due(self) -> None:
        """Make the backup of today unless it is there; go on with one whose later steps failed."""
        due = self.due(self._runtime.clock.now())
        database = Address.of(self._url).database
        here = [
            each
            for each in await asyncio.to_thread(list_backups, self._place)
            if each.database == database and each.created_at >= due
        ]
        if not here:
            await self.run()
            return
        done = here[0].verified or not self._check
        if done and self._bucket is not None:
            names = {each.path.name for each in await self._bucket.list_backups()}
            done = here[0].path.name in names
        if not done:
            await self._finish(here[0])

    async def _loop(self) -> None:
        clock = self._runtime.clock
        while True:
            try:
                with exclusive(self._place, _LOCK):  # two schedules that look at once would both find none
                    await self._run_due()
            except Exception as error:  # noqa: BLE001 - a loop that ended here would back up nothing, silently
                self.last_error = str(error) or type(error).__name__
                await clock.sleep(self._retry)
                continue
            self.last_error = ""
            following = self.due(clock.now()) + timedelta(days=1)
            while (left := (following - clock.now()).total_seconds()) > 0:
                await clock.sleep(min(left, _LOOK))

    # --- lifespan ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin; the first backup is made at once when the one of today is missing."""
        if self._task is None:
            with Deadline.detached():
                self._task = asyncio.ensure_future(self._loop())

    async def aclose(self) -> None:
        """Cancel a backup that is being made: nothing of it is published."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def check(self) -> CheckResult:
        """Report what :class:`Status` reports, and the error of the last attempt."""
        found = await self._status.check()
        if not self.last_error:
            return found
        return CheckResult("degraded", self.last_error, found.details)

    def __repr__(self) -> str:
        return f"Schedule({str(self._place)!r}, at={self._at:%H:%M}, bucket={self._bucket!r})"
