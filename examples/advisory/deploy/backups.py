"""The backup service of compose.yaml: dump, verify by a real restore, prune; once a day.

    python -m advisory.deploy.backups schedule   # every day at BACKUP_HOUR (UTC), until SIGTERM
    python -m advisory.deploy.backups run        # once, now
    python -m advisory.deploy.backups check      # exit code 1 when the last verified backup is too old

Backups lie in BACKUP_DIRECTORY. They count once they were restored into a throw-away database and compared; the
app's health report then says when that was.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prodkit.errors import ProdkitError

MARK = "last-verified"
DIRECTORY = Path(os.environ.get("BACKUP_DIRECTORY", "/backups"))
HOUR = int(os.environ.get("BACKUP_HOUR", "3"))
MAX_AGE = 26 * 3600.0  # seconds: a day, and two hours for a slow dump
RETRY = 900.0  # seconds after a failure


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="advisory.deploy.backups", description=__doc__)
    parser.add_argument("command", choices=("schedule", "run", "check"))
    command = parser.parse_args(arguments).command
    if command == "check":
        return check()
    if command == "run":
        return 0 if asyncio.run(run()) else 1
    return asyncio.run(schedule())


async def run() -> bool:
    """Make one backup, verify it, drop the old ones; return True when it was verified."""
    from prodkit import backup  # the check, run every minute, does without it

    try:
        made = await backup.dump(os.environ["DATABASE_URL"], DIRECTORY)
        await backup.verify(made.path, url=os.environ["DATABASE_URL"])
        (DIRECTORY / MARK).write_text(f"{datetime.now(UTC).isoformat()} {made.path.name}\n")
        await backup.prune(DIRECTORY)
        await report(made.path.name, made.size)
    except (ProdkitError, OSError) as error:
        print(f"backup failed: {error}", file=sys.stderr, flush=True)
        return False
    print(f"backup verified: {made.path.name}", flush=True)
    return True


async def report(name: str, size: int) -> None:
    """Note the backup in the app's own table, for its health report. A database without that table gets none."""
    from advisory.store.backups import Backups
    from prodkit import postgres

    async with postgres.Pool(
        os.environ["DATABASE_URL"], min_size=0, max_size=1, application_name="advisory-backup"
    ) as db:
        if await db.fetchval("select to_regclass('backups') is not null"):
            await Backups(db).record(name, size)


def check(now: float | None = None) -> int:
    """Return 0 while the last verified backup is young enough."""
    mark = DIRECTORY / MARK
    if not mark.exists():
        print("no backup has been verified yet", file=sys.stderr)
        return 1
    age = (time.time() if now is None else now) - mark.stat().st_mtime
    if age > MAX_AGE:
        print(f"the last verified backup is {age / 3600:.0f} hours old", file=sys.stderr)
        return 1
    return 0


def wait_until(now: datetime, hour: int) -> float:
    """Return the seconds from `now` (UTC) until the next full `hour`."""
    due = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    if due <= now:
        due += timedelta(days=1)
    return (due - now).total_seconds()


async def schedule() -> int:
    """Back up at once when the last one is old, then every day; return 0 after SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    pause = 0.0 if check() else wait_until(datetime.now(UTC), HOUR)
    while True:
        try:
            async with asyncio.timeout(pause):
                await stop.wait()
        except TimeoutError:
            pause = wait_until(datetime.now(UTC), HOUR) if await run() else RETRY
        else:
            return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
