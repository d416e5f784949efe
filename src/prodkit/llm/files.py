"""Files that the API keeps: upload, list, download."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from prodkit.core.validate import Arguments
from prodkit.llm.failures import Failure, FaultError
from prodkit.llm.provider import Reply
from prodkit.llm.service import Service

__all__ = ["Files", "StoredFile"]

_MAX_BYTES: Final = 500 * 2**20  # the largest file that the Files API stores
_MAX_CONTENT: Final = 64 * 2**20
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that the API keeps.

    Args:
        id: for ``{"type": "file", "file_id": id}`` in a request.
        filename: its name.
        media_type: its MIME type.
        size: bytes.
        raw: the API's object.
        downloadable: True for files that the API made itself; an uploaded one cannot be downloaded.
        expires_at: when its bytes are gone, in the API's spelling; "" where it does not expire.
    """

    id: str
    filename: str
    media_type: str
    size: int
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any])
    downloadable: bool = False
    expires_at: str = ""


class Files:
    """Files that the API keeps. Made by ``Client.files`` for its `service`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _sdk(self) -> Any:
        sdk = self._service.provider.sdk
        return getattr(sdk, "files", None) or sdk.beta.files

    @property
    def _raw(self) -> Any:
        return self._sdk.with_raw_response

    async def upload(
        self, content: bytes, *, filename: str, media_type: str, expires_in: int | None = None
    ) -> StoredFile:
        """Store a file; retried only when it cannot have been stored.

        Args:
            content: its bytes.
            filename: its name.
            media_type: its MIME type.
            expires_in: seconds after which its bytes are gone, from 3,600 to 7,776,000; None keeps it.
        """
        check = Arguments("upload")
        check.integer("expires_in", expires_in, minimum=3600, maximum=7_776_000, optional=True)
        check.done()
        service = self._service
        further = {} if expires_in is None else {"expires_in_seconds": expires_in}
        return await service.run(
            "files.upload",
            lambda: service.provider.raw(self._raw.upload, file=(filename, content, media_type), **further),
            _file_of,
            once=True,
        )

    async def get(self, file_id: str) -> StoredFile:
        """Return the metadata of the file `file_id`."""
        service = self._service
        return await service.run(
            "files.get", lambda: service.provider.raw(self._raw.retrieve_metadata, file_id), _file_of
        )

    async def list(self) -> list[StoredFile]:
        """Return the metadata of all files."""
        service = self._service
        found: list[StoredFile] = []
        after: dict[str, str] = {}
        while True:
            page = await service.run(
                "files.list",
                lambda after=after: service.provider.raw(self._raw.list, limit=100, **after),  # type: ignore[misc]
                lambda body: body if isinstance(body.get("data"), list) else None,
            )
            found += [file for each in page["data"] if (file := _file_of(each)) is not None]
            if not page.get("next_page"):
                return found
            after = {"page": page["next_page"]}

    async def delete(self, file_id: str) -> None:
        """Delete the file `file_id`."""
        service = self._service
        await service.run(
            "files.delete", lambda: service.provider.raw(self._raw.delete, file_id), lambda body: body
        )

    def download(self, file_id: str, *, max_bytes: int = _MAX_BYTES) -> AsyncIterator[bytes]:
        """Iterate over the bytes of the file `file_id` as they arrive.

        A connection that breaks is opened again and asked for the rest only; a server that sends everything again is
        read past what was delivered. Each byte is delivered once. Leaving the loop early closes the connection.

        Args:
            file_id: of a file that the API made, such as by code execution.
            max_bytes: a larger file is refused, before its first byte where its size is known then.

        Raises:
            LlmError: the file cannot be read to its end; code "too_large" beyond `max_bytes`, "invalid_request" for
                a file that cannot be downloaded, "not_found" for one that is gone.
        """
        check = Arguments("download")
        check.text("file_id", file_id)
        check.integer("max_bytes", max_bytes, minimum=1)
        check.done()
        service, part = self._service, _FileBody(self, file_id, max_bytes)
        method = self._sdk.with_streaming_response.download
        return service.read(
            "files.download",
            lambda: service.provider.streamed(method, file_id, extra_headers=part.headers()),
            part,
        )

    async def content(self, file_id: str, *, max_bytes: int = _MAX_CONTENT) -> bytes:
        """Return the bytes of the file `file_id`, see :meth:`download`.

        Args:
            file_id: of a file that the API made.
            max_bytes: a larger file is refused; it would be held in memory.
        """
        pieces = [piece async for piece in self.download(file_id, max_bytes=max_bytes)]
        return b"".join(pieces)


class _FileBody:
    """The bytes of one file, from one response or several::

    1st response   200  |0123456|✂      delivered = 7
    2nd response   206  bytes 7-9/10    |789|            skip = 0
    or             200  |0123456789|                     skip = 7
    """

    def __init__(self, files: Files, file_id: str, max_bytes: int) -> None:
        self._files = files
        self._file_id = file_id
        self._max_bytes = max_bytes
        self._delivered = 0
        self._skip = 0
        self._total: int | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers of the next request; a range of compressed bytes could not be joined."""
        headers = {"Accept-Encoding": "identity"}
        if self._delivered:
            headers["Range"] = f"bytes={self._delivered}-"
        return headers

    def begin(self, reply: Reply, /) -> None:
        """Compare the place and the size that the response names with what was delivered."""
        start, total = 0, reply.headers.get("content-length", "")
        if reply.status == 206:
            found = _RANGE.fullmatch(reply.headers.get("content-range", ""))
            if found is None or int(found.group(1)) > self._delivered:
                raise FaultError(Failure("bad_response", status=206, error_type="content-range"))
            start, total = int(found.group(1)), found.group(2)
        if reply.headers.get("content-encoding", "identity") == "identity" and total.isdecimal():
            if self._total is not None and int(total) != self._total:
                raise FaultError(Failure("bad_response", status=reply.status, error_type="size"))
            self._total = int(total)
            if self._total > self._max_bytes:
                raise FaultError(self._too_large())
        self._skip = self._delivered - start

    def feed(self, data: bytes, /) -> list[bytes]:
        """Return `data` without what was delivered before."""
        new = data[self._skip :]
        self._skip = max(0, self._skip - len(data))
        self._delivered += len(new)
        if self._delivered > self._max_bytes:
            raise FaultError(self._too_large())
        return [new] if new else []

    def end(self) -> list[bytes]:
        """Return nothing: bytes need no end."""
        return []

    async def whole(self) -> bool:
        """Return True when all bytes were delivered; a response without a length may have ended early."""
        if self._total is None:
            self._total = (await self._files.get(self._file_id)).size
        return self._skip == 0 and self._delivered >= self._total

    def _too_large(self) -> Failure:
        return Failure("too_large", detail=f"the file is larger than max_bytes={self._max_bytes}")


def _file_of(body: dict[str, Any]) -> StoredFile | None:
    if not isinstance(body.get("id"), str):
        return None
    return StoredFile(
        body["id"],
        str(body.get("filename", "")),
        str(body.get("mime_type", "")),
        int(body.get("size_bytes") or 0),
        body,
        body.get("downloadable") is True,
        str(body.get("expires_at") or ""),
    )
