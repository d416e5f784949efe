"""Decode Amazon's event stream, in which Bedrock sends the events of the Messages API; pure and incremental.

A message is: total length and header length (4 bytes each), a CRC of these 8 bytes, headers, payload, a CRC of the
whole. A header is: name length (1), name, type (1), value; here only texts (type 7: length (2), text) matter. The
payload of a chunk is ``{"bytes": "<base64 of the event's JSON>"}``.

Format: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any, Final

__all__ = ["EventStreamDecoder", "encode_message"]

_PRELUDE: Final = 12
_MAX: Final = 16 * 2**20
_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # bytes of a header's value by its type


class EventStreamDecoder:
    """Takes bytes as they come and returns Server-Sent Events."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the Server-Sent Events of the messages that `data` completes.

        Raises:
            ValueError: the bytes are no event stream.
        """
        self._rest += data
        out = b""
        while len(self._rest) >= _PRELUDE:
            total, headers, crc = struct.unpack(">III", self._rest[:_PRELUDE])
            if zlib.crc32(self._rest[:8]) != crc or not _PRELUDE + 4 + headers <= total <= _MAX:
                raise ValueError("the response is no event stream")
            if len(self._rest) < total:
                break
            message, self._rest = self._rest[:total], self._rest[total:]
            if zlib.crc32(message[:-4]) != struct.unpack(">I", message[-4:])[0]:
                raise ValueError("a message of the event stream is damaged")
            out += _event(_headers(message[_PRELUDE : _PRELUDE + headers]), message[_PRELUDE + headers : -4])
        return out


def _headers(data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        length = data[at]
        name = data[at + 1 : at + 1 + length].decode()
        at += 1 + length
        kind, at = data[at], at + 1
        if kind in (6, 7):
            (size,) = struct.unpack(">H", data[at : at + 2])
            at += 2
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise ValueError("a header of the event stream has an unknown type")
        if kind == 7:
            found[name] = data[at : at + size].decode()
        at += size
    return found


def _event(headers: dict[str, str], payload: bytes) -> bytes:
    kind = headers.get(":message-type", "event")
    if kind == "event":
        body = json.loads(payload or b"{}")
        encoded = body.get("bytes")
        if not isinstance(encoded, str):
            return b""
        event: Any = json.loads(base64.b64decode(encoded))
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            return b""
    else:
        name = headers.get(":exception-type") or headers.get(":error-code") or "api_error"
        try:
            message = str(json.loads(payload).get("message", ""))
        except (ValueError, AttributeError):
            message = headers.get(":error-message", "")
        event = {"type": "error", "error": {"type": _ERRORS.get(name, "api_error"), "message": message}}
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


_ERRORS: Final = {
    "throttlingException": "rate_limit_error",
    "validationException": "invalid_request_error",
    "modelTimeoutException": "timeout_error",
    "serviceUnavailableException": "overloaded_error",
    "internalServerException": "api_error",
    "modelStreamErrorException": "api_error",
}


def encode_message(payload: bytes, **headers: str) -> bytes:
    """Return one message; the simulator's side of the format.

    Args:
        payload: the body.
        **headers: text headers, with ``_`` for ``-``; their names get the colon in front.
    """
    encoded = b""
    for name, value in headers.items():
        key = ":" + name.replace("_", "-")
        encoded += bytes((len(key),)) + key.encode() + b"\7" + struct.pack(">H", len(value)) + value.encode()
    total = _PRELUDE + len(encoded) + len(payload) + 4
    prelude = struct.pack(">II", total, len(encoded))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + encoded + payload
    return message + struct.pack(">I", zlib.crc32(message))
