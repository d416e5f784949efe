"""Reads one field out of a form body that somebody else will read again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

from starlette.types import Message, Receive, Scope

from prodkit.errors import MissingExtraError
from prodkit.web.asgi import header

__all__ = ["field_of"]

_MAX_VALUE: Final = 4096
_MAX_FIELDS: Final = 1000


async def field_of(scope: Scope, receive: Receive, name: str, max_bytes: int) -> tuple[str | None, Receive]:
    """The value of the form field `name`, or None, and a ``receive`` that tells the whole body once more.

    An urlencoded body is read whole, a multipart one only up to the field; neither beyond `max_bytes`. A body that
    is no form is not read at all. Whatever is wrong with the body, the answer is None.
    """
    kind, _, parameters = header(scope, b"content-type").partition(";")
    kind = kind.strip().lower()
    search: Callable[[bytes], str | None] | None = None
    if kind == "multipart/form-data" and (boundary := _boundary(parameters)):
        try:
            search = _multipart(boundary, name)
        except ValueError:
            return None, receive
    elif kind != "application/x-www-form-urlencoded":
        return None, receive
    seen: list[Message] = []
    body = bytearray()
    found: str | None = None
    more = True
    while more and found is None and len(body) <= max_bytes:
        message = await receive()
        seen.append(message)
        if message["type"] != "http.request":
            break
        chunk: bytes = message.get("body", b"")
        body += chunk
        more = message.get("more_body", False)
        if search is not None:
            try:
                found = search(chunk)
            except ValueError:
                break
    if search is None and not more and len(body) <= max_bytes:
        found = _urlencoded(bytes(body), name)
    return found, _replay(seen, receive)


def _replay(seen: list[Message], receive: Receive) -> Receive:
    waiting = list(reversed(seen))

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


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
    """Feeds a streaming parser; returns the field's value once it is complete. Raises ValueError on a bad body."""
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
