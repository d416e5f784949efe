"""The objects of one folder of a bucket.

Every request is a blocking call in a thread of the bucket's. The library's coroutines are finished by threads of its
own, which may still want the interpreter when it ends, and that aborts the process: the exit status of a backup that
was made was 134.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from prodkit.errors import BackupError, MissingExtraError

if TYPE_CHECKING:
    from obstore.store import S3Store

__all__ = ["MissingObjectError", "Objects"]

T = TypeVar("T")
_CHUNK: Final = 8 * 2**20
_AT_ONCE: Final = 4  # parts of one upload in flight: 32 MiB of memory
_THREADS: Final = 4


class MissingObjectError(BackupError):
    """There is no such object."""


class Objects:
    """Read, write, list and remove objects.

    Args:
        url: the folder, for messages.
        options: of the library's store; those that are None are left out.
        secrets: texts that no message may hold.
    """

    def __init__(self, url: str, options: dict[str, Any], secrets: Sequence[str]) -> None:
        self._named = url
        self._options = options
        self._secrets = secrets
        self._store: S3Store | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="prodkit-bucket")

    async def _put(self, name: str, data: bytes) -> None:
        await self._call(_library().put, self._opened(), name, data)

    async def _get(self, name: str) -> bytes | None:
        """Return a small object, None where there is none."""
        try:
            with self._said("read", name):
                answer = await self._call(_library().get, self._opened(), name)
                return bytes(await self._call(answer.bytes))
        except MissingObjectError:
            return None

    async def _send(self, name: str, path: Path) -> None:
        """Write a file to an object, a part at a time: a cancelled upload ends with the part it is at."""
        writer = _library().open_writer(self._opened(), name, buffer_size=_CHUNK, max_concurrency=_AT_ONCE)
        with path.open("rb") as file:
            while data := await self._call(file.read, _CHUNK):
                await self._call(writer.write, data)
        await self._call(writer.close)

    async def _read(self, name: str, keep: Callable[[bytes], object] = lambda _: None) -> tuple[int, str]:
        """Read an object; return its size and hash."""
        digest, at = hashlib.sha256(), 0
        with self._said("read", name):
            size = int((await self._call(_library().head, self._opened(), name))["size"])
            while at < size:  # a request a piece: the timeout bounds each
                length = min(_CHUNK, size - at)
                piece = await self._call(_library().get_range, self._opened(), name, start=at, length=length)
                data = bytes(piece)
                at += len(data)
                await self._call(digest.update, data)
                await self._call(keep, data)
        return size, digest.hexdigest()

    async def _size(self, name: str) -> int | None:
        try:
            with self._said("look at", name):
                return int((await self._call(_library().head, self._opened(), name))["size"])
        except MissingObjectError:
            return None

    async def _objects(self) -> list[tuple[str, int, datetime]]:
        """Return name, size and time of change of everything directly in the folder."""
        found: list[tuple[str, int, datetime]] = []
        with self._said("list", ""):
            pages = _library().list(self._opened(), chunk_size=1000)
            step: Callable[[], Any] = partial(next, pages, None)
            while (page := await self._call(step)) is not None:
                found += [
                    (each["path"], int(each["size"]), each["last_modified"])
                    for each in page
                    if "/" not in each["path"]
                ]
        return found

    async def _delete(self, name: str) -> None:
        with suppress(MissingObjectError), self._said("remove", name):
            await self._call(_library().delete, self._opened(), name)

    async def _call(self, work: Callable[..., T], *args: Any, **options: Any) -> T:
        """Run a blocking call in one of the bucket's own threads.

        A caller that gives up leaves the thread with its request until that times out. Were it one of the loop's,
        health checks of a service that hangs would use them up, and with them every lookup of a host's name.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, partial(work, *args, **options)
        )

    def _opened(self) -> S3Store:
        if self._store is None:
            try:
                from obstore.store import S3Store
            except ModuleNotFoundError:
                raise MissingExtraError.named("obstore", "backup") from None
            options = {name: value for name, value in self._options.items() if value is not None}
            if os.environ.get("AWS_ENDPOINT_URL") == "":  # set and empty, as compose files do: AWS
                names = ("AWS_REGION", "AWS_DEFAULT_REGION")
                found = next((os.environ[name] for name in names if os.environ.get(name)), "us-east-1")
                region = options.setdefault("region", found)
                options.setdefault("endpoint", f"https://s3.{region}.amazonaws.com")
            self._store = S3Store(**options)
        return self._store

    @contextmanager
    def _said(self, what: str, name: str) -> Iterator[None]:
        """Turn errors of the store into ours, one line of them, without a secret."""
        try:
            from obstore.exceptions import BaseError
        except ModuleNotFoundError:
            raise MissingExtraError.named("obstore", "backup") from None
        try:
            yield
        except (FileNotFoundError, BaseError, OSError, ValueError) as error:
            text = " ".join(str(error).split("\n")[0].split())[:300]
            for secret in self._secrets:
                text = text.replace(secret, "***")
            kind = MissingObjectError if isinstance(error, FileNotFoundError) else BackupError
            raise kind(
                f"{self._named} could not {what} {name or 'its backups'}: {type(error).__name__}: {text}"
            ) from None


def _library() -> Any:
    try:
        import obstore
    except ModuleNotFoundError:
        raise MissingExtraError.named("obstore", "backup") from None
    return obstore
