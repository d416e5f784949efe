"""Backups in an S3-compatible bucket, beside or instead of the ones on a disk.

::

    upload     hash the file, multipart put, read back and hash, then put the record: what has a record is whole
    list       objects whose record is there and whose size it names
    download   file.partial, hash compared with the record, renamed, then the record
    prune      retention.py decides, as for a directory; uploads without a record go after a day

objects.py speaks with the service.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from prodkit.backup.events import BackupFailed, BackupPruned, BackupUploaded
from prodkit.backup.locking import check_room, exclusive
from prodkit.backup.manifest import SUFFIX, Backup, parse, read, sync_directory, text_of, write
from prodkit.backup.objects import Objects
from prodkit.backup.pruning import KEEP_DAYS, Pruned
from prodkit.backup.pump import hash_of
from prodkit.backup.retention import expired
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable, reveal
from prodkit.core.validate import Arguments
from prodkit.errors import BackupError

__all__ = ["Bucket"]

_ABANDONED: Final = 86_400.0
_OURS: Final = re.compile(r"[A-Za-z0-9_-]+-\d{8}T\d{6}Z-[0-9a-f]{6}\.dump(\.age)?")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Bucket(Objects):
    """Backups in a bucket of S3 or of a service that speaks its protocol (MinIO, R2, Spaces, Garage).

    ::

        bucket = backup.Bucket("s3://backups/advisory", endpoint="https://s3.example.com")
        made = await backup.verify((await backup.dump(url, "/backups")).path)
        await bucket.upload(made)

    Without keys the usual variables are read (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``,
    ``AWS_ENDPOINT_URL``), then the credentials of the machine. Needs the extra ``backup``.

    Args:
        url: ``s3://bucket`` or ``s3://bucket/folder``.
        endpoint: the address of the service; None for AWS. Plain ``http`` only for this machine, unless `allow_http`.
        region: of the bucket.
        access_key: the name of the key.
        secret_key: the key.
        session_token: of temporary credentials.
        allow_http: send backups unprotected over the network; encrypt them (``recipients=``) if you must.
        timeout: seconds of one request, which carries at most 8 MiB; it is repeated up to four times.
        runtime: clock and events.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        access_key: str | Revealable | None = None,
        secret_key: str | Revealable | None = None,
        session_token: str | Revealable | None = None,
        allow_http: bool = False,
        timeout: float = 30.0,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("Bucket")
        parts = urlsplit(str(url))
        check.that(
            parts.scheme == "s3" and bool(parts.hostname) and not parts.username and not parts.query,
            "url must be s3://bucket or s3://bucket/folder",
        )
        place = urlsplit(endpoint or os.environ.get("AWS_ENDPOINT_URL", ""))
        local = place.scheme == "http" and place.hostname in _LOOPBACK
        check.that(
            place.scheme in ("", "https") or (place.scheme == "http" and (local or allow_http)),
            "endpoint must begin with https:// (http:// only for this machine, or with allow_http=True)",
        )
        check.that((access_key is None) == (secret_key is None), "give access_key and secret_key, or neither")
        check.seconds("timeout", timeout)
        check.done()
        self.url: str = f"s3://{parts.hostname}{parts.path.rstrip('/')}"
        self._runtime = runtime
        options: dict[str, Any] = {
            "bucket": parts.netloc,
            "prefix": parts.path.strip("/") or None,
            "endpoint": endpoint,
            "region": region,
            "access_key_id": None if access_key is None else reveal(access_key),
            "secret_access_key": None if secret_key is None else reveal(secret_key),
            "session_token": None if session_token is None else reveal(session_token),
            "client_options": {
                "allow_http": local or allow_http,
                "timeout": f"{max(1, int(timeout))}s",
                "connect_timeout": f"{max(1, int(min(timeout, 10)))}s",
            },
            "retry_config": {"max_retries": 4, "retry_timeout": timedelta(seconds=2 * timeout)},
        }
        secrets = [reveal(each) for each in (secret_key, session_token) if each is not None]
        super().__init__(self.url, options, secrets)

    # --- for users --------------------------------------------------------------------------------------------------

    async def upload(self, made: Backup | str | os.PathLike[str]) -> Backup:
        """Store a backup and read it back; return it as it lies in the bucket.

        A backup that is there already, of the same content, gets its new record only: upload it again after
        :func:`verify` to say so.

        Args:
            made: from :func:`dump` or :func:`verify`, or the path of a backup with a record.

        Raises:
            BackupError: it is damaged here, or was not stored whole; nothing is listed then.
        """
        path = made.path if isinstance(made, Backup) else Path(made)
        record: Backup | None = None
        try:
            began = self._runtime.clock.monotonic()
            record = await self._call(_recorded, path)
            await self._upload(record)
        except BackupError as error:
            if self._runtime.events.listened(BackupFailed):
                database = "" if record is None else record.database
                self._runtime.events.emit(BackupFailed(database=database, step="upload", error=str(error)))
            raise
        if self._runtime.events.listened(BackupUploaded):
            took = self._runtime.clock.monotonic() - began
            self._runtime.events.emit(
                BackupUploaded(database=record.database, file=path.name, size=record.size, took=took)
            )
        return replace(record, path=self._place(path.name))

    async def list_backups(self) -> list[Backup]:
        """Return the complete backups of the bucket, the newest first."""
        sizes = {name: size for name, size, _ in await self._objects()}
        found: list[Backup] = []
        for name in sizes:
            if name.endswith(SUFFIX) and (file := name.removesuffix(SUFFIX)) in sizes:
                backup = await self._record(file)
                if backup is not None and backup.size == sizes[file]:
                    found.append(backup)
        return sorted(found, key=lambda backup: backup.created_at, reverse=True)

    async def download(self, name: str, directory: str | os.PathLike[str]) -> Backup:
        """Fetch a backup into `directory`; it appears there only when its content is what the record says.

        Args:
            name: the file's name, from :meth:`list_backups`.
            directory: where to put it; made with mode 0700 when it is missing.

        Raises:
            BackupError: there is no such backup, or it is damaged.
        """
        name = self._plain(name)
        record = await self._record(name)
        if record is None:
            raise BackupError(f"{self.url} has no backup {name!r}")
        place = Path(directory)
        with exclusive(place):
            check_room(place, record.size)
            unfinished, target = place / f"{name}.partial", place / name
            try:
                descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(descriptor, "wb") as file:

                    def keep(data: bytes) -> None:
                        file.write(data)

                    size, sha256 = await self._read(name, keep)
                    file.flush()
                    await self._call(os.fsync, file.fileno())
                if (size, sha256) != (record.size, record.sha256):
                    raise BackupError(f"{name} in {self.url} is damaged: it is not what its record says")
                backup = replace(record, path=target)
                unfinished.rename(target)
                sync_directory(place)
                write(backup)
            except OSError as error:
                raise BackupError(f"{place} cannot be written: {error.strerror}") from error
            finally:
                unfinished.unlink(missing_ok=True)
        return backup

    async def prune(self, *, days: float = KEEP_DAYS, keep: int = 3, dry_run: bool = False) -> Pruned:
        """Remove backups older than `days`, for each database on its own, and never the last verified ones.

        Uploads that were never finished go after a day.

        Args:
            days: age in days.
            keep: verified backups that always stay.
            dry_run: remove nothing, only say what would go.
        """
        check = Arguments("prune")
        check.number("days", days, minimum=0, unit="days")
        check.integer("keep", keep, minimum=1)
        check.done()
        now = self._runtime.clock.now()
        backups = await self.list_backups()
        gone: list[Backup] = []
        for database in {backup.database for backup in backups}:
            mine = [backup for backup in backups if backup.database == database]
            gone += expired(mine, now=now, days=days, keep=keep)
        objects = await self._objects()
        names = {name for name, _, _ in objects}
        abandoned = [
            name
            for name, _, changed in objects
            if _OURS.fullmatch(name)
            and name + SUFFIX not in names
            and (now - changed).total_seconds() > _ABANDONED
        ]
        if not dry_run:
            for backup in gone:
                await self._delete(backup.path.name + SUFFIX)  # first: what has a record is whole
                await self._delete(backup.path.name)
                if self._runtime.events.listened(BackupPruned):
                    age = (now - backup.created_at).total_seconds()
                    self._runtime.events.emit(BackupPruned(file=backup.path.name, age=age))
            for name in abandoned:
                await self._delete(name)
        removed = tuple(backup.path for backup in gone) + tuple(self._place(name) for name in abandoned)
        kept = tuple(backup for backup in backups if backup not in gone)
        return Pruned(removed, kept, ())

    # --- steps ------------------------------------------------------------------------------------------------------

    async def _upload(self, record: Backup) -> None:
        name = self._plain(record.path.name)
        try:
            local = await self._call(hash_of, record.path)
        except OSError as error:
            raise BackupError(f"{name} cannot be read: {error.strerror}") from error
        if (local.size, local.sha256) != (record.size, record.sha256):
            raise BackupError(f"{name} is damaged: it is not what its record says, and was not uploaded")
        known = await self._record(name)
        there = known is not None and (known.size, known.sha256) == (record.size, record.sha256)
        if not there or await self._size(name) != record.size:
            with self._said("upload", name):
                await self._send(name, record.path)
            if await self._read(name) != (record.size, record.sha256):
                await self._delete(name)
                raise BackupError(f"{name} arrived in {self.url} as something else, and was removed")
        with self._said("upload", name):
            await self._put(name + SUFFIX, text_of(record).encode())

    async def _record(self, name: str) -> Backup | None:
        text = await self._get(name + SUFFIX)
        if text is None:
            return None
        try:
            return parse(text, self._place(name))
        except BackupError:
            return None

    def _plain(self, name: str) -> str:
        if not name or "/" in name or name in (".", ".."):
            raise BackupError(f"{name!r} is no name of a backup")
        return name

    def _place(self, name: str) -> Path:
        return Path(name)

    def __repr__(self) -> str:
        return f"Bucket({self.url!r})"


def _recorded(path: Path) -> Backup:
    record = read(path)
    if record is None:
        raise BackupError(f"{path.name} has no record: only complete backups are uploaded")
    return record
