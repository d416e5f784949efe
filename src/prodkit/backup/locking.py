"""One backup at a time in a directory, and room on its disk."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prodkit.errors import BackupError

__all__ = ["check_room", "exclusive"]


@contextmanager
def exclusive(directory: Path, lock: str = ".lock") -> Iterator[None]:
    """Hold the directory's lock. The system frees it when the process ends, however it ends.

    Args:
        directory: where the backups are; made with mode 0700 when it is missing.
        lock: the name of its file; schedules have one of their own around the whole run of a day.

    Raises:
        BackupError: another backup holds it, or the directory cannot be written.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BackupError(f"the directory {directory} cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"another backup is being made in {directory}") from None
        yield
    finally:
        os.close(descriptor)


def check_room(directory: Path, needed: int) -> None:
    """Refuse to begin where the disk is too full.

    Args:
        directory: where the backup will be.
        needed: bytes.

    Raises:
        BackupError: there is less room.
    """
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise BackupError(
            f"the disk of {directory} has {free / 2**20:.0f} MiB free, and about {needed / 2**20:.0f} MiB are needed"
        )
