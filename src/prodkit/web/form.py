"""Read one field of a request body, and hand the whole body on unread.

A token may stand behind a large file. The bytes before it are kept for the app, in memory up to 1 MiB and in a
temporary file beyond::

    receive ──► chunk ──► parser finds the field? ── no: keep the chunk, next
                             │ yes, or the body ends, or `max_bytes` is reached
                             ▼
    the app's receive ──► kept chunks in order, then the rest of the body as it arrives
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable
from typing import IO, Any, Final
from urllib.parse import parse_qsl

from starlette.types import Message, Receive, Scope

from prodkit.errors import MissingExtraError
from prodkit.web.asgi import header

__all__ = ["ReadBody", "field_of"]

_MAX_VALUE: Final = 4096
_MAX_FIELDS: Final = 1000
_IN_MEMORY: Final = 1_048_576
_CHUNK: Final = 65_536


async def field_of(
    scope: Scope, receive: Receive, name: str, max_bytes: int, max_parsed: int = 1_048_576
) -> tuple[str | None, Receive]:
    """Return the value of the field `name`, or None, and a ``receive`` that yields the whole body once more.

    A multipart body is read up to the field, an urlencoded or JSON one whole. A body of another type is not read at
    all. Any fault of the body gives None.

    Args:
        scope: the request's scope.
        receive: the request's ``receive``.
        name: the field; in a JSON object, the member.
        max_bytes: bytes read of a multipart body.
        max_parsed: bytes read of an urlencoded or JSON body, which is parsed in memory.
    """
    kind, _, parameters = header(scope, b"content-type").partition(";")
    kind = kind.strip().lower()
    search: Callable[[bytes], str | None] | None = None
    if kind == "multipart/form-data" and (boundary := _boundary(parameters)):
        try:
            search = _multipart(boundary, name)
        except ValueError:
            return None, receive
    elif kind == "application/x-www-form-urlencoded" or kind == "application/json" or kind.endswith("+json"):
        max_bytes = min(max_bytes, max_parsed)
    else:
        return None, receive
    kept = ReadBody(receive)
    found: str | None = None
    more = True
    try:
        while more and found is None and kept.size <= max_bytes:
            message = await receive()
            if message["type"] != "http.request":
                kept.last = message
                break
            chunk: bytes = message.get("body", b"")
            await kept.add(chunk)
            more = message.get("more_body", False)
            if search is not None:
                try:
                    found = search(chunk)
                except ValueError:
                    break
    except BaseException:
        kept.close()
        raise
    kept.rewind(whole=not more)
    if search is None and not more and kept.size <= max_bytes:
        body = kept.in_memory()
        found = _urlencoded(body, name) if "json" not in kind else _json(body, name)
    return found, kept


class ReadBody:
    """The bytes that were read already, then the rest: a ``receive`` for the app.

    Args:
        receive: the request's ``receive``, asked once the kept bytes are used up.
    """

    def __init__(self, receive: Receive) -> None:
        self.size: int = 0
        self.last: Message | None = None
        self._receive = receive
        self._whole = False
        self._chunks: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._position = 0
        self._left = 0

    async def add(self, chunk: bytes) -> None:
        """Keep `chunk`, in memory up to 1 MiB and in a temporary file beyond."""
        self.size += len(chunk)
        if self._file is None and self.size <= _IN_MEMORY:
            self._chunks.append(chunk)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - `close` ends it, with the request
            chunk = b"".join([*self._chunks, chunk])
            self._chunks.clear()
        await asyncio.to_thread(self._file.write, chunk)

    def close(self) -> None:
        """Remove the temporary file: the request has ended."""
        if self._file is not None:
            self._file.close()

    def in_memory(self) -> bytes:
        """Return the kept bytes of a body that needed no file."""
        return b"".join(self._chunks)

    def rewind(self, *, whole: bool) -> None:
        """Return to the first byte.

        Args:
            whole: the body ended with the last kept chunk.
        """
        self._whole = whole
        self._left = self.size
        if self._file is not None:
            self._file.seek(0)

    async def __call__(self) -> Message:
        if self._file is None and self._position < len(self._chunks):
            body = self._chunks[self._position]
            self._position += 1
            ended = self._position == len(self._chunks)
        elif self._file is not None and self._left > 0:
            body = await asyncio.to_thread(self._file.read, _CHUNK)
            self._left -= len(body)
            ended = self._left <= 0
        else:
            last, self.last = self.last, None
            return last if last is not None else await self._receive()
        return {"type": "http.request", "body": body, "more_body": not (ended and self._whole)}


def _json(body: bytes, name: str) -> str | None:
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else None


def _urlencoded(body: bytes, name: str) -> str | None:
    try:
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        return None
    return next((value for key, value in pairs if key == name), None)


def _boundary(parameters: str) -> bytes | None:
    for part in parameters.split(";"):
        key, _, value = part.partition("=")
        if key.strip().lower() == "boundary":
            return value.strip().strip('"').encode("latin-1", "replace") or None
    return None


def _multipart(boundary: bytes, name: str) -> Callable[[bytes], str | None]:
    """Return a function that takes chunks and returns the field's value once it is complete.

    It raises ValueError on a bad body.
    """
    try:
        from python_multipart.multipart import MultipartParser, parse_options_header
    except ImportError:
        raise MissingExtraError.named("python-multipart", "web") from None

    key = bytearray()
    header_value = bytearray()
    value = bytearray()
    state: dict[str, bool | str | None] = {"ours": False, "found": None}

    def part_begin() -> None:
        state["ours"] = False
        key.clear()
        header_value.clear()

    def header_end() -> None:
        if bytes(key).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(header_value))
            state["ours"] = options.get(b"name") == name.encode() and b"filename" not in options
        key.clear()
        header_value.clear()

    def part_data(data: bytes, start: int, end: int) -> None:
        if state["ours"]:
            value.extend(data[start:end])
            if len(value) > _MAX_VALUE:
                raise ValueError("the field is too long")

    def part_end() -> None:
        if state["ours"] and state["found"] is None:
            state["found"] = value.decode("latin-1")
        state["ours"] = False

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": part_begin,
            "on_header_field": lambda data, start, end: key.extend(data[start:end]),
            "on_header_value": lambda data, start, end: header_value.extend(data[start:end]),
            "on_header_end": header_end,
            "on_part_data": part_data,
            "on_part_end": part_end,
        },
    )

    def feed(chunk: bytes) -> str | None:
        parser.write(chunk)
        found = state["found"]
        return found if isinstance(found, str) else None

    return feed
