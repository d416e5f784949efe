"""Log files by day, kept for a number of days.

A file carries its day in its name and is never renamed, so several processes append to it without losing a line;
and a purge matches the whole name, so no other file is ever touched.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
import re
import shutil
import sys
import threading
import time
import zlib
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from prodkit.core.clock import Clock, LoopClock
from prodkit.core.validate import Arguments

__all__ = ["DailyFile", "finish_compressing", "purge"]


def purge(directory: str | os.PathLike[str], stem: str, *, keep_days: int, today: date) -> list[Path]:
    """Remove log files of days before the last `keep_days`, and return their paths.

    Args:
        directory: where the files are.
        stem: the first part of their names; only ``<stem>.<YYYY-MM-DD>[.<part>].log[.gz]`` is touched.
        keep_days: days to keep, today included.
        today: the day to count from, in UTC.
    """
    ours = re.compile(rf"{re.escape(stem)}\.(\d{{4}}-\d{{2}}-\d{{2}})(?:\.\d{{1,6}})?\.log(?:\.gz)?")
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

    With `max_bytes` a full file is followed by ``<stem>.<today>.1.log`` and so on; with `compress` files that are full
    or of an earlier day become ``….log.gz``. Writers hold a shared lock for one write and the compression an exclusive
    one, so that several processes may share a directory; a writer whose file was compressed in between opens the next.

    Args:
        directory: made when it is missing.
        stem: letters, digits, ``-`` and ``_``.
        keep_days: days to keep, today included.
        clock: the source of the day; the system's by default.
        max_bytes: size after which the next file begins; None: by day only.
        compress: gzip files that are no longer written.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        stem: str,
        *,
        keep_days: int,
        clock: Clock | None = None,
        max_bytes: int | None = None,
        compress: bool = False,
    ) -> None:
        check = Arguments("DailyFile")
        check.integer("keep_days", keep_days, minimum=1)
        check.integer("max_bytes", max_bytes, minimum=1024, optional=True)
        check.that(
            bool(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", stem)),
            f"stem must be letters, digits, - and _, got {stem!r}",
        )
        check.done()
        self._directory = Path(directory)
        self._stem = stem
        self._keep_days = keep_days
        self._clock = LoopClock() if clock is None else clock
        self._max_bytes = max_bytes
        self._compress = compress
        self._lock = threading.Lock()
        self._day: date | None = None
        self._part = 0
        self._file = -1
        self.lost: int = 0
        """Lines that could not be written."""

    @property
    def path(self) -> Path:
        """The file of today that is written now."""
        return self._path(self._today(), self._part)

    def write(self, line: bytes) -> None:
        """Append `line`, which ends with its line break."""
        try:
            with self._lock:
                today = self._today()
                if today != self._day:
                    self._open(today, 0)
                self._append(line)
        except OSError as error:
            self.lost += 1
            if self.lost == 1 and sys.stderr is not None:
                sys.stderr.write(
                    f"prodkit.logs: cannot write {self._stem}: {os.strerror(error.errno or 0)}\n"
                )

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        with self._lock:
            self._close()

    def _append(self, line: bytes) -> None:
        if self._max_bytes is None and not self._compress:
            _write_whole(self._file, line)
            return
        for _ in range(1000):
            fcntl.flock(self._file, fcntl.LOCK_SH)
            try:
                state = os.fstat(self._file)
                full = (
                    self._max_bytes is not None
                    and state.st_size
                    and state.st_size + len(line) > self._max_bytes
                )
                if state.st_nlink and not full:
                    _write_whole(self._file, line)
                    return
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
            assert self._day is not None  # write() has opened a file
            self._open(self._day, self._part + 1)
        raise OSError(errno.EFBIG, "no part of today's file takes the line")

    def _today(self) -> date:
        now: datetime = self._clock.now()
        return now.astimezone(UTC).date()

    def _path(self, day: date, part: int) -> Path:
        number = f".{part}" if part else ""
        return self._directory / f"{self._stem}.{day.isoformat()}{number}.log"

    def _open(self, day: date, part: int) -> None:
        new_day = day != self._day
        self._close()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        while self._compress and self._path(day, part).with_suffix(".log.gz").exists():
            part += 1  # this part is full and compressed
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        self._file = os.open(self._path(day, part), flags, 0o600)
        self._day, self._part = day, part
        if new_day:
            purge(self._directory, self._stem, keep_days=self._keep_days, today=day)
        if self._compress:
            compress_old(self._directory, self._stem, current=self._path(day, part))

    def _close(self) -> None:
        file, self._file, self._day = self._file, -1, None
        if file >= 0:
            os.close(file)


def _write_whole(file: int, line: bytes) -> None:
    """One write; what a full disk cuts off is taken back, so that the next line is not glued to half of this one."""
    written = os.write(file, line)
    while written < len(line):
        try:
            written += os.write(file, line[written:])
        except OSError:
            size = os.fstat(file).st_size
            os.ftruncate(file, max(0, size - written))
            raise


def compress_old(directory: Path, stem: str, *, current: Path) -> None:
    """Compress the files of `stem` before `current`, in a thread.

    Args:
        directory: where the files are.
        stem: the first part of their names.
        current: the file that is written now.
    """
    ours = re.compile(rf"{re.escape(stem)}\.\d{{4}}-\d{{2}}-\d{{2}}(?:\.\d{{1,6}})?\.log")
    day_and_part = _order(current)
    old = [
        path
        for path in directory.iterdir()
        if ours.fullmatch(path.name) and not path.is_symlink() and _order(path) < day_and_part
    ]
    if old:
        thread = threading.Thread(target=_compress_all, args=(old,), name="prodkit-logs-gzip")
        _compressing.add(thread)
        thread.start()


_compressing: Final[set[threading.Thread]] = set()


def finish_compressing(timeout: float = 5.0) -> None:
    """Wait for compressions that run, at most `timeout` seconds.

    A process that a signal ends between the gzip and the removal of its original leaves both; the next compression
    removes the original.
    """
    until = time.monotonic() + timeout
    for thread in tuple(_compressing):
        thread.join(max(0.0, until - time.monotonic()))


def _order(path: Path) -> tuple[str, int]:
    parts = path.name.split(".")
    return parts[1], int(parts[2]) if len(parts) == 4 else 0


def _compress_all(paths: list[Path]) -> None:
    try:
        for path in paths:
            _compress(path)
    finally:
        _compressing.discard(threading.current_thread())


def _compress(path: Path) -> None:
    """Replace `path` by its gzip. Another process that does the same waits for the lock and finds the file gone."""
    with suppress(OSError, EOFError, zlib.error), path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not os.fstat(file.fileno()).st_nlink:
            return
        packed, partial = path.with_suffix(".log.gz"), path.with_suffix(".log.gz.partial")
        before = packed.read_bytes() if packed.exists() else b""
        if before and gzip.decompress(before).endswith(file.read()):
            path.unlink()  # nothing new: a writer opened it in vain, or a signal came before this line
            return
        file.seek(0)
        opened = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(opened, "wb") as raw:
            # A writer that looked for the gzip a moment too early made the part once more: its lines become a
            # further member of the gzip.
            raw.write(before)
            with gzip.GzipFile(path.name, "wb", 6, raw) as member:
                shutil.copyfileobj(file, member)
        partial.replace(packed)
        path.unlink()
