"""The backup service of compose.yaml: dump, verify by a real restore, store in a bucket if there is one, prune.

    python -m advisory.deploy.backups schedule   # every day at BACKUP_HOUR (UTC), until SIGTERM
    python -m advisory.deploy.backups run        # once, now
    python -m advisory.deploy.backups check      # exit code 1 when the last verified backup is too old

Backups lie in BACKUP_DIRECTORY, and in BACKUP_BUCKET too where it is set. They count once they were restored into a
throw-away database and compared, and lie in that bucket; the app's health report then says when that was.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prodkit.errors import ProdkitError

if TYPE_CHECKING:
    from advisory.settings import BackupSettings
    from prodkit import backup

MARK = "last-verified"
MAX_AGE = 26 * 3600.0  # seconds: a day, and two hours for a slow dump
LOOK = 5.0  # seconds between looks at the schedule
EX_CONFIG = 78  # of sysexits.h: a bad configuration


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="advisory.deploy.backups", description=__doc__)
    parser.add_argument("command", choices=("schedule", "run", "check"))
    command = parser.parse_args(arguments).command
    if command == "check":  # every minute: it reads one file and loads no settings
        return check(Path(os.environ.get("BACKUP_DIRECTORY") or "/backups"))
    from advisory.settings import BackupSettings

    try:
        settings = BackupSettings.load(language="pt-BR")
        bucket = bucket_of(settings)
    except ValueError as error:  # EnvError, or an address that a Bucket refuses
        print(f"backup: {error}", file=sys.stderr)
        return EX_CONFIG
    if command == "run":
        return 0 if asyncio.run(run(settings, bucket)) else 1
    return asyncio.run(schedule(settings, bucket))


def bucket_of(settings: BackupSettings) -> backup.Bucket | None:
    """The bucket that the environment names."""
    from prodkit import backup

    if settings.backup_bucket is None:
        return None
    return backup.Bucket(
        settings.backup_bucket,
        endpoint=settings.aws_endpoint_url,
        region=settings.aws_region,
        access_key=settings.aws_access_key_id,
        secret_key=settings.aws_secret_access_key,
    )


def nightly_of(settings: BackupSettings, bucket: backup.Bucket | None) -> backup.Schedule:
    """The schedule. A backup is verified on the database's own server, which needs no second one."""
    from prodkit import backup

    return backup.Schedule(
        settings.database_url,
        settings.backup_directory,
        at=f"{settings.backup_hour:02d}:00",
        bucket=bucket,
        verify_url=settings.database_url,
    )


async def run(settings: BackupSettings, bucket: backup.Bucket | None) -> bool:
    """Make one backup, verify it, store it, drop the old ones; return True when all of it was done."""
    try:
        made = await nightly_of(settings, bucket).run()
        await note(settings, made)
    except (ProdkitError, OSError) as error:
        print(f"backup failed: {error}", file=sys.stderr, flush=True)
        return False
    return True


async def schedule(settings: BackupSettings, bucket: backup.Bucket | None) -> int:
    """Back up at once when the backup of today is missing, then every day; return 0 after SIGTERM."""
    from prodkit.backup import BackupUploaded, BackupVerified
    from prodkit.core.runtime import SYSTEM

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    news = asyncio.Event()
    news.set()  # a process that ended in between may have noted nothing
    unsubscribe = SYSTEM.events.subscribe(
        lambda _: news.set(), BackupVerified if bucket is None else BackupUploaded
    )
    said = ""
    try:
        async with nightly_of(settings, bucket) as nightly:
            while not stop.is_set():
                problem = nightly.last_error
                if news.is_set():
                    news.clear()
                    try:
                        newest = await proven(settings, bucket)
                        if newest is not None:
                            await note(settings, newest)
                    except (ProdkitError, OSError) as error:
                        news.set()
                        problem = problem or str(error)
                if problem != said and problem:
                    print(f"backup failed: {problem}", file=sys.stderr, flush=True)
                said = problem
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await stop.wait()
    finally:
        unsubscribe()
    return 0


async def proven(settings: BackupSettings, bucket: backup.Bucket | None) -> backup.Backup | None:
    """The newest backup of this database that was verified and lies where it has to."""
    from prodkit.backup import list_backups

    if bucket is not None:
        found = await bucket.list_backups()
    else:
        found = await asyncio.to_thread(list_backups, settings.backup_directory)
    database = settings.database_url.database
    return next((each for each in found if each.verified and each.database == database), None)


async def note(settings: BackupSettings, made: backup.Backup) -> None:
    """Leave the mark of `check`, and note the backup in the app's own table, if the database has one."""
    from advisory.store.backups import Backups
    from prodkit import postgres

    verified_at = made.verified_at or datetime.now(UTC)
    mark = settings.backup_directory / MARK
    fresh = not mark.exists() or made.path.name not in mark.read_text()
    mark.write_text(f"{verified_at.isoformat()} {made.path.name}\n")
    os.utime(mark, (verified_at.timestamp(), verified_at.timestamp()))
    async with postgres.Pool(
        settings.database_url, min_size=0, max_size=1, application_name="advisory-backup"
    ) as db:
        if await db.fetchval("select to_regclass('backups') is not null"):
            await Backups(db).record(made.path.name, made.size, verified_at)
    if fresh:
        print(f"backup verified: {made.path.name}", flush=True)


def check(directory: Path, now: float | None = None) -> int:
    """Return 0 while the last verified backup is young enough."""
    mark = directory / MARK
    if not mark.exists():
        print("no backup has been verified yet", file=sys.stderr)
        return 1
    age = (time.time() if now is None else now) - mark.stat().st_mtime
    if age > MAX_AGE:
        print(f"the last verified backup is {age / 3600:.0f} hours old", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
