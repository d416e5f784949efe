"""Backups of a PostgreSQL database that were restored before they were needed.

The path of ``await backup.dump(url, directory)``::

    dump           dumping.py    lock, tools, snapshot, counts, publish
      Lock         locking.py    one backup a directory at a time
      find_tools   tools.py      pg_dump and pg_restore as new as the server
      census       census.py     row counts in the snapshot that is dumped
      pump         pump.py       pg_dump -> sha256 (-> age) -> file.partial, and -> pg_restore -f /dev/null
      Manifest     manifest.py   published beside the file, last

``verify`` (verifying.py) restores into a throw-away database and compares counts, ``restore`` (restoring.py) into a new
database that then takes the place of the old one, ``prune`` (pruning.py) keeps what retention.py decides. ``Bucket``
(bucket.py) keeps backups in S3, and ``Schedule`` (schedule.py) does all of it every day.

A dump is one moment a day: what was written since is lost with the server. Where that is too much, archive the
server's write-ahead log (point-in-time recovery) with pgBackRest, Barman or your provider, and keep dumps beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.backup.bucket import Bucket as Bucket
    from prodkit.backup.dumping import dump as dump
    from prodkit.backup.events import (
        BackupFailed as BackupFailed,
        BackupMade as BackupMade,
        BackupPruned as BackupPruned,
        BackupRestored as BackupRestored,
        BackupUploaded as BackupUploaded,
        BackupVerified as BackupVerified,
    )
    from prodkit.backup.manifest import Backup as Backup, list_backups as list_backups
    from prodkit.backup.pruning import Pruned as Pruned, prune as prune
    from prodkit.backup.restoring import Restored as Restored, restore as restore
    from prodkit.backup.schedule import Schedule as Schedule
    from prodkit.backup.status import Status as Status
    from prodkit.backup.verifying import verify as verify
    from prodkit.errors import BackupError as BackupError
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            ".errors": ("BackupError",),
            "bucket": ("Bucket",),
            "dumping": ("dump",),
            "events": (
                "BackupFailed",
                "BackupMade",
                "BackupPruned",
                "BackupRestored",
                "BackupUploaded",
                "BackupVerified",
            ),
            "manifest": ("Backup", "list_backups"),
            "pruning": ("Pruned", "prune"),
            "restoring": ("Restored", "restore"),
            "schedule": ("Schedule",),
            "status": ("Status",),
            "verifying": ("verify",),
        },
    )
