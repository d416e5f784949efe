"""The record that stands beside a backup, and the list of a directory's backups."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from prodkit.backup.census import Census
from prodkit.errors import BackupError

__all__ = ["SUFFIX", "Backup", "list_backups", "manifest_of", "parse", "read", "text_of", "write"]

SUFFIX: Final = ".json"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup.

    Args:
        path: the file.
        database: the database's name.
        created_at: when the snapshot was taken.
        size: bytes of the file.
        sha256: of the file, in hexadecimal; empty for a file of another origin.
        server: PostgreSQL's major version at the time; 0 when it is not known.
        tool: pg_dump's version; 0 when it is not known.
        encrypted: the file is encrypted with age.
        census: counts in the snapshot; empty for a file of another origin.
        took: seconds.
        verified_at: when it was last restored and compared; None: never.
    """

    path: Path
    database: str
    created_at: datetime
    size: int
    sha256: str = ""
    server: int = 0
    tool: int = 0
    encrypted: bool = False
    census: Census = field(default_factory=Census)
    took: float = 0.0
    verified_at: datetime | None = None

    @property
    def verified(self) -> bool:
        """True when it has been restored and compared since it was made."""
        return self.verified_at is not None

    @property
    def tables(self) -> dict[str, int]:
        """Rows by table in the snapshot."""
        return self.census.tables

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        facts = asdict(self)
        facts["path"] = str(self.path)
        facts["created_at"] = self.created_at.isoformat()
        facts["verified_at"] = self.verified_at.isoformat() if self.verified_at else None
        return facts


def manifest_of(path: Path) -> Path:
    """Return where the record of a backup is.

    Args:
        path: the backup.
    """
    return path.with_name(path.name + SUFFIX)


def write(backup: Backup) -> None:
    """Publish the record beside the backup: complete or not at all.

    Args:
        backup: the backup.
    """
    target = manifest_of(backup.path)
    temporary = target.with_name(target.name + ".partial")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text_of(backup))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    sync_directory(target.parent)


def text_of(backup: Backup) -> str:
    """Return the record as it is written.

    Args:
        backup: the backup.
    """
    return json.dumps(backup.as_dict() | {"version": _VERSION, "path": backup.path.name}, indent=1)


def sync_directory(directory: Path) -> None:
    """Make renames in a directory survive a power cut.

    Args:
        directory: the directory.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> Backup | None:
    """Return the record of a backup, None where there is none.

    Args:
        path: the backup.

    Raises:
        BackupError: the record cannot be read.
    """
    try:
        text = manifest_of(path).read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"the record of {path.name} cannot be read: {error}") from error
    return parse(text, path)


def parse(text: str | bytes, path: Path) -> Backup:
    """Return the backup that a record describes.

    Args:
        text: from :func:`text_of`.
        path: of the backup.

    Raises:
        BackupError: the record is damaged.
    """
    try:
        facts = json.loads(text)
        census = Census(**facts["census"])
        return Backup(
            path=path,
            database=facts["database"],
            created_at=datetime.fromisoformat(facts["created_at"]),
            size=int(facts["size"]),
            sha256=facts["sha256"],
            server=int(facts["server"]),
            tool=int(facts["tool"]),
            encrypted=bool(facts["encrypted"]),
            census=census,
            took=float(facts["took"]),
            verified_at=datetime.fromisoformat(facts["verified_at"]) if facts["verified_at"] else None,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"the record of {path.name} is damaged") from error


def list_backups(directory: str | os.PathLike[str]) -> list[Backup]:
    """Return the backups of a directory, the newest first. Files that are not complete are left out.

    Args:
        directory: where :func:`~prodkit.backup.dumping` wrote them.
    """
    found = []
    for record in Path(directory).glob(f"*{SUFFIX}"):
        path = record.with_name(record.name.removesuffix(SUFFIX))
        try:
            backup = read(path)
            size = path.stat().st_size
        except (BackupError, OSError):
            continue
        if backup is not None and size == backup.size:
            # A file that was made older by hand counts as old: `cp -p` keeps times, plain `cp` the record.
            changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            found.append(replace(backup, created_at=min(backup.created_at, changed)))
    return sorted(found, key=lambda backup: backup.created_at, reverse=True)
