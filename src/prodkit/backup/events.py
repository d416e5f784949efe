"""Events of backups: names, sizes and durations; never an address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prodkit.core.events import Event, Level, Metric, Metrics

__all__ = ["BackupFailed", "BackupMade", "BackupPruned", "BackupRestored", "BackupUploaded", "BackupVerified"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupMade(Event):
    """A backup was published.

    Args:
        database: the database's name.
        file: the file's name.
        size: bytes.
        took: seconds.
    """

    name = "backup.made"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = (
        Metric(
            "backup_bytes",
            "gauge",
            ("database",),
            value="size",
            unit="bytes",
            help="Size of the newest backup.",
        ),
        Metric(
            "backup_seconds",
            "histogram",
            ("database",),
            value="took",
            unit="seconds",
            help="Time of a backup.",
        ),
    )
    database: str
    file: str
    size: int
    took: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFailed(Event):
    """A backup, its verification or its restore failed.

    Args:
        database: the database's name, empty when it is not known.
        step: ``dump``, ``verify``, ``restore`` or ``upload``.
        error: one sentence, without an address.
    """

    name = "backup.failed"
    level: ClassVar[Level] = "ERROR"
    metric: ClassVar[Metrics] = Metric(
        "backup_failures", labels=("database", "step"), help="Backup steps that failed."
    )
    database: str
    step: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupVerified(Event):
    """A backup was restored into a throw-away database, and its row counts are those of the original.

    Args:
        database: the database's name.
        file: the file's name.
        tables: tables compared.
        took: seconds.
    """

    name = "backup.verified"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric(
        "backup_verify_seconds",
        "histogram",
        ("database",),
        value="took",
        unit="seconds",
        help="Time to verify a backup.",
    )
    database: str
    file: str
    tables: int
    took: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRestored(Event):
    """A backup took the place of a database.

    Args:
        database: the database's name.
        file: the file's name.
        took: seconds.
    """

    name = "backup.restored"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "backup_restores", labels=("database",), help="Databases restored from a backup."
    )
    database: str
    file: str
    took: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupPruned(Event):
    """An old backup was removed.

    Args:
        file: the file's name.
        age: seconds since it was made.
    """

    name = "backup.pruned"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric("backups_pruned", help="Old backups removed.")
    file: str
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupUploaded(Event):
    """A backup lies in a bucket, and was read back from it.

    Args:
        database: the database's name.
        file: the file's name.
        size: bytes.
        took: seconds.
    """

    name = "backup.uploaded"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric(
        "backup_upload_seconds",
        "histogram",
        ("database",),
        value="took",
        unit="seconds",
        help="Time to store a backup in a bucket.",
    )
    database: str
    file: str
    size: int
    took: float
