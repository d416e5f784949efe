"""Bytes on the wire: heads, chunked bodies, resets."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["BrokenError", "Chunks", "Request", "head", "reset"]


@dataclass(slots=True)
class Request:
    """One HTTP request."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes
    query: str = ""


class BrokenError(Exception):
    """The behaviour has ended the connection."""


class Chunks:
    """A chunked body."""

    __slots__ = ("_writer",)

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, data: bytes) -> None:
        if not data:
            return  # an empty chunk would end the body
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()

    async def end(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Simulated\r\n{lines}\r\n".encode("latin-1")


def reset(writer: asyncio.StreamWriter) -> None:
    """Closes with RST instead of FIN."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
    writer.transport.abort()
    raise BrokenError
