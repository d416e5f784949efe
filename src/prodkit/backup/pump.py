"""Write pg_dump's output: hashed, encrypted where wanted, and read in full by pg_restore while it is written."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prodkit.backup.address import Address
from prodkit.backup.encryption import encrypt
from prodkit.backup.process import Program
from prodkit.errors import BackupError

__all__ = ["Written", "hash_of", "pump"]

_CHUNK: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Written:
    """The file that was written.

    Args:
        size: bytes.
        sha256: in hexadecimal.
    """

    size: int
    sha256: str


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, descriptor: int, progress: Callable[[int], object] | None) -> None:
        self._descriptor = descriptor
        self._progress = progress
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]
        self._hash.update(data)
        self.size += len(data)
        if self._progress is not None:
            try:
                self._progress(self.size)
            except Exception as error:
                raise BackupError(f"progress() failed: {type(error).__name__}: {error}") from error
        return len(data)

    def flush(self) -> None:
        """Nothing is buffered."""

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class _Tee:
    """pg_dump's output for a reader, with a copy for pg_restore."""

    def __init__(self, dump: Program, check: Program, stop: threading.Event) -> None:
        self._dump = dump
        self._check = check
        self._stop = stop
        self._checking = True
        self.ended = False

    def read(self, size: int = -1) -> bytes:
        if self._stop.is_set():
            raise BackupError("the backup was cancelled")
        data = self._dump.stdout.read1(_CHUNK if size < 0 else size)  # type: ignore[attr-defined]
        if not data:
            self.ended = True
        elif self._checking:
            try:
                self._check.stdin.write(data)
            except BrokenPipeError:
                self._checking = False  # its exit code says why
        return bytes(data)

    def require_end(self) -> None:
        if not self.ended:
            raise BackupError("the dump was not read to its end")


def pump(
    dump: Sequence[str],
    check: Sequence[str],
    environment: Mapping[str, str],
    address: Address,
    target: Path,
    *,
    recipients: Sequence[str],
    stop: threading.Event,
    progress: Callable[[int], object] | None,
) -> Written:
    """Run `dump`, write its output to `target` and let `check` read all of it. Blocks: call it in a thread.

    Args:
        dump: the command that writes.
        check: the command that reads it.
        environment: for both.
        address: for messages without the password.
        target: the file, which must not exist; removed when anything fails.
        recipients: age recipients; empty for no encryption.
        stop: set to give up.
        progress: called with the bytes written.

    Raises:
        BackupError: a program failed, the disk is full, the dump is not whole, or `progress` raised.
    """
    programs: list[Program] = []
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            writer = Program(dump, environment, address, stdout=subprocess.PIPE)
            programs.append(writer)
            reader = Program(check, {**environment, "PGPASSFILE": os.devnull}, address, stdin=subprocess.PIPE)
            programs.append(reader)
            file = _Hashed(descriptor, progress)
            tee = _Tee(writer, reader, stop)
            if recipients:
                encrypt(tee, file, recipients)
            else:
                _copy(tee, file)
            tee.require_end()
            writer.finish()
            with suppress(BrokenPipeError):
                reader.stdin.close()
            reader.finish()
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return _read_back(target, Written(file.size, file.sha256))
    except OSError as error:
        _abandon(programs, target)
        raise BackupError(f"{target.parent} cannot be written: {error.strerror or error}") from error
    except BaseException:
        _abandon(programs, target)
        raise


def _read_back(target: Path, written: Written) -> Written:
    if hash_of(target) != written:
        raise BackupError("the file on the disk is not what was written")
    return written


def _copy(source: Any, target: Any) -> None:
    while data := source.read():
        target.write(data)


def _abandon(programs: list[Program], target: Path) -> None:
    for program in programs:
        with suppress(Exception):
            program.kill()
    target.unlink(missing_ok=True)


def hash_of(path: Path) -> Written:
    """Return the size and hash of a file. Blocks.

    Args:
        path: the file.
    """
    found = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            found.update(data)
            size += len(data)
    return Written(size, found.hexdigest())
