"""Read an upload: bytes, a file object or a stream of chunks, at most one chunk past the limit."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, Callable
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

__all__ = ["CHUNK", "Source", "TooLargeError", "read"]

CHUNK: Final = 64 * 1024


@runtime_checkable
class Readable(Protocol):
    """A file object: ``open(path, "rb")``, ``io.BytesIO``, or an ``UploadFile`` whose read is awaited."""

    def read(self, size: int, /) -> Any: ...


Source: TypeAlias = bytes | bytearray | memoryview | Readable | AsyncIterable[bytes]


class TooLargeError(Exception):
    """The source has more bytes than the limit."""


async def read(source: Source, limit: int, on_read: Callable[[int], None] = lambda received: None) -> bytes:
    """Return all of `source`, or raise :class:`TooLargeError` as soon as it has more than `limit` bytes.

    At most one chunk is read past the limit. A file object is read from its position, which is restored afterwards.

    Args:
        source: the upload.
        limit: in bytes.
        on_read: called with the bytes received so far, after each chunk.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        if memoryview(source).nbytes > limit:
            raise TooLargeError
        on_read(memoryview(source).nbytes)
        return bytes(source)
    if isinstance(source, AsyncIterable):
        return await _drain(source, limit, on_read)
    if isinstance(source, Readable):
        return await _read_file(source, limit, on_read)
    raise TypeError(
        f"a file is bytes, a file object or an async iterator of chunks, got {type(source).__name__}"
    )


async def _drain(source: AsyncIterable[bytes], limit: int, on_read: Callable[[int], None]) -> bytes:
    parts = bytearray()
    async for chunk in source:
        if not isinstance(chunk, bytes | bytearray | memoryview):
            raise TypeError(f"a chunk is bytes, got {type(chunk).__name__}")
        if len(parts) + len(chunk) > limit:
            raise TooLargeError
        parts += chunk
        on_read(len(parts))
    return bytes(parts)


async def _read_file(source: Any, limit: int, on_read: Callable[[int], None]) -> bytes:
    start = await _tell(source)
    parts = bytearray()
    try:
        while True:
            chunk = await _call(source.read, min(CHUNK, limit + 1 - len(parts)))
            if not chunk:
                return bytes(parts)
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise TypeError(f"a file is opened in binary mode, its read() gave {type(chunk).__name__}")
            if len(parts) + len(chunk) > limit:
                raise TooLargeError
            parts += chunk
            on_read(len(parts))
    finally:
        if start is not None:
            await _call(source.seek, start)


async def _tell(source: Any) -> int | None:
    """Return the position, or None when the file cannot seek. An UploadFile has no tell(): its file is asked."""
    if not hasattr(source, "seek"):
        return None
    inner = source if hasattr(source, "tell") else getattr(source, "file", None)
    if inner is None or (hasattr(inner, "seekable") and not inner.seekable()):
        return None
    place = inner.tell()
    if inspect.isawaitable(place):
        place = await place
    return int(place)


async def _call(function: Any, argument: int) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(argument)
    answer = await asyncio.to_thread(function, argument)
    return await answer if inspect.isawaitable(answer) else answer
