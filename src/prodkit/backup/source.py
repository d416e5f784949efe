"""Read a backup of any form: custom, plain or gzip, encrypted or not. The content decides, not the name."""

from __future__ import annotations

import gzip
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal, TypeAlias

from prodkit.backup.encryption import decrypt
from prodkit.backup.manifest import Backup, read
from prodkit.backup.pump import hash_of
from prodkit.core.secrets import Revealable
from prodkit.errors import BackupError

__all__ = ["Kind", "Source", "opened"]

Kind: TypeAlias = Literal["custom", "plain"]

_AGE: Final = b"age-encryption.org/v1"
_CUSTOM: Final = b"PGDMP"
_GZIP: Final = b"\x1f\x8b"
_PLAIN: Final = (b"-- PostgreSQL database dump", b"PostgreSQL database cluster dump")
_END: Final = b"-- PostgreSQL database dump complete"
_DUMPED_BY: Final = re.compile(rb"Dumped by pg_dump version (\d+)")
_HEAD, _TAIL = 4096, 1024


@dataclass(frozen=True, slots=True)
class Source:
    """A readable backup.

    Args:
        path: a file that is not encrypted.
        kind: ``custom`` for pg_restore, ``plain`` for psql.
        zipped: it is compressed with gzip as a whole.
        record: its record; None for a file of another origin.
        tool: the version of pg_dump that made it; None when it is not known.
    """

    path: Path
    kind: Kind
    zipped: bool
    record: Backup | None
    tool: int | None = None

    def copy_to(self, target: IO[bytes]) -> None:
        """Write the unpacked content to `target`. Blocks.

        Args:
            target: a program's input.

        Raises:
            BackupError: the file is damaged.
        """
        try:
            with self._open() as file:
                shutil.copyfileobj(file, target, 1 << 18)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BackupError(f"{self.path.name} is damaged: {error}") from error

    def _open(self) -> IO[bytes]:
        return gzip.open(self.path, "rb") if self.zipped else self.path.open("rb")  # type: ignore[return-value]


@contextmanager
def opened(path: Path, identity: str | Revealable | None) -> Iterator[Source]:
    """Check a backup against its record, decrypt it where needed, and tell its form. Blocks.

    Args:
        path: the backup.
        identity: the private age key, for an encrypted one.

    Raises:
        BackupError: it is missing, damaged, cut or of an unknown form.
    """
    if not path.is_file():
        raise BackupError(f"there is no backup {path}")
    record = read(path)
    if record is not None:
        found = hash_of(path)
        if (found.size, found.sha256) != (record.size, record.sha256):
            raise BackupError(
                f"{path.name} is damaged: it is not the file that was written (size or sha256 differs)"
            )
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head.startswith(_AGE):
        yield _recognised(path, head, record)
        return
    with tempfile.TemporaryDirectory(prefix="prodkit-backup-", dir=path.parent) as folder:
        plain = Path(folder) / path.name.removesuffix(".age")
        decrypt(path, plain, identity)
        with plain.open("rb") as file:
            head = file.read(_HEAD)
        yield _recognised(plain, head, record)


def _recognised(path: Path, head: bytes, record: Backup | None) -> Source:
    zipped = head.startswith(_GZIP)
    if zipped:
        head = _unzipped_head(path)
    if head.startswith(_CUSTOM):
        return Source(path, "custom", zipped, record, record.tool if record is not None else None)
    if _PLAIN[1] in head:
        raise BackupError(f"{path.name} is a dump of a whole cluster (pg_dumpall): restore it with psql")
    if _PLAIN[0] not in head:
        raise BackupError(f"{path.name} is not a dump of PostgreSQL (custom, plain or gzip)")
    version = _DUMPED_BY.search(head)
    source = Source(path, "plain", zipped, record, int(version[1]) if version else None)
    _require_end(source)
    return source


def _unzipped_head(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as file:
            return file.read(_HEAD)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BackupError(f"{path.name} is damaged: {error}") from error


def _require_end(source: Source) -> None:
    """A plain dump cut between two statements restores without an error; only its last line shows that it is whole."""
    tail = b""
    try:
        with source._open() as file:
            if not source.zipped:
                size = file.seek(0, 2)
                file.seek(max(0, size - _TAIL))
            while data := file.read(1 << 18):
                tail = (tail + data)[-_TAIL:]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BackupError(f"{source.path.name} is damaged: {error}") from error
    if _END not in tail:
        raise BackupError(f"{source.path.name} is cut: its last line is missing")
