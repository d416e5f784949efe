"""Log files by day, kept for a number of days.

A file carries its day in its name and is never renamed, so several processes append to it without losing a line;
and a purge matches the whole name, so no other file is ever touched.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from prodkit.core.clock import Clock, LoopClock

__all__ = ["DailyFile", "purge"]


def purge(directory: str | os.PathLike[str], stem: str, *, keep_days: int, today: date) -> list[Path]:
    """Removes ``<stem>.<YYYY-MM-DD>.log`` files of days before the last `keep_days`, and returns their paths."""
    ours = re.compile(rf"{re.escape(stem)}\.(\d{{4}}-\d{{2}}-\d{{2}})\.log(?:\.gz)?")
    first = today - timedelta(days=keep_days - 1)
    removed = []
    for path in sorted(Path(directory).iterdir()):
        match = ours.fullmatch(path.name)
        if match is None or path.is_symlink() or not path.is_file():
            continue
        try:
            day = date.fromisoformat(match.group(1))
        except ValueError:
            continue
        if day < first:
            path.unlink(missing_ok=True)  # another process may have been quicker
            removed.append(path)
    return removed


class DailyFile:
    """Appends lines to ``<directory>/<stem>.<today>.log`` (UTC), readable by the owner only.

    Every line is one write in append mode: whole, also among other processes. Files of more than `keep_days` days
    ago are removed when the first line is written and at each new day. A disk that cannot be written does not stop
    the service: the line is counted in :attr:`lost`, and the first loss is reported on stderr.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        stem: str,
        *,
        keep_days: int,
        clock: Clock | None = None,
    ) -> None:
        if keep_days < 1:
            raise ValueError(f"keep_days must be at least 1, got {keep_days!r}")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", stem):
            raise ValueError(f"stem must be letters, digits, - and _, got {stem!r}")
        self._directory = Path(directory)
        self._stem = stem
        self._keep_days = keep_days
        self._clock = LoopClock() if clock is None else clock
        self._lock = threading.Lock()
        self._day: date | None = None
        self._file = -1
        self.lost = 0
        """Lines that could not be written."""

    @property
    def path(self) -> Path:
        """Today's file."""
        return self._path(self._today())

    def write(self, line: bytes) -> None:
        """Appends `line`, which ends with its line break."""
        try:
            with self._lock:
                today = self._today()
                if today != self._day:
                    self._open(today)
                view = memoryview(line)
                while view:
                    view = view[os.write(self._file, view) :]
        except OSError as error:
            self.lost += 1
            if self.lost == 1 and sys.stderr is not None:
                sys.stderr.write(
                    f"prodkit.logs: cannot write {self._stem}: {os.strerror(error.errno or 0)}\n"
                )

    def close(self) -> None:
        """Closes the file; a later write opens it again."""
        with self._lock:
            self._close()

    def _today(self) -> date:
        now: datetime = self._clock.now()
        return now.astimezone(UTC).date()

    def _path(self, day: date) -> Path:
        return self._directory / f"{self._stem}.{day.isoformat()}.log"

    def _open(self, day: date) -> None:
        self._close()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        self._file = os.open(self._path(day), flags, 0o600)
        self._day = day
        purge(self._directory, self._stem, keep_days=self._keep_days, today=day)

    def _close(self) -> None:
        file, self._file, self._day = self._file, -1, None
        if file >= 0:
            os.close(file)
