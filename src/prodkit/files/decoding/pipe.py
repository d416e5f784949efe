"""Message format between the two ends of a sandbox: lengths, a JSON header, bytes. Nothing is unpickled."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import struct
import time
from typing import Any, Final

__all__ = ["Channel", "ChannelError", "ChannelTimeoutError"]

_HEAD: Final = struct.Struct("!II")
_MAX_HEADER: Final = 2**16
_MAX_BODY: Final = 2**30
_PIECE: Final = 2**20
_WIDE: Final = 2**20  # the largest pipe that Linux grants without a privilege


class ChannelError(Exception):
    """The other end is gone, or its message is malformed."""


class ChannelTimeoutError(ChannelError):
    """No answer from the other end in time."""


class Channel:
    """A pair of pipes with limits on time and message size."""

    __slots__ = ("_reads", "_writes")

    def __init__(self, reads: int, writes: int) -> None:
        self._reads = reads
        self._writes = writes
        os.set_blocking(reads, False)
        os.set_blocking(writes, False)

    def widen(self) -> None:
        """Let both pipes hold a whole picture: an end that waits for room costs two changes of process per 64 KiB."""
        size = getattr(fcntl, "F_SETPIPE_SZ", None)
        if size is None:  # not Linux
            return
        for descriptor in (self._reads, self._writes):
            with contextlib.suppress(OSError):  # beyond the user's share of pipe memory: the size stays
                fcntl.fcntl(descriptor, size, _WIDE)

    def send(self, header: dict[str, Any], body: bytes = b"", timeout: float | None = None) -> None:
        """Send one message within `timeout` seconds of real time."""
        head = json.dumps(header).encode()
        until = None if timeout is None else time.monotonic() + timeout
        for part in (_HEAD.pack(len(head), len(body)) + head, body):
            view = memoryview(part)
            while view:
                try:
                    view = view[os.write(self._writes, view[:_PIECE]) :]
                except BlockingIOError:
                    self._wait(self._writes, select.POLLOUT, until)
                except OSError as error:
                    raise ChannelError("the other end is gone") from error

    def receive(self, timeout: float | None = None) -> tuple[dict[str, Any], bytes]:
        """Return the next message, within `timeout` seconds of real time."""
        until = None if timeout is None else time.monotonic() + timeout
        header_size, body_size = _HEAD.unpack(self._read(_HEAD.size, until))
        if header_size > _MAX_HEADER or body_size > _MAX_BODY:
            raise ChannelError("a message larger than the limit")
        try:
            header = json.loads(self._read(header_size, until))
        except ValueError as error:
            raise ChannelError("a header that is not JSON") from error
        if not isinstance(header, dict):
            raise ChannelError("a header that is not an object")
        return header, self._read(body_size, until)

    def _read(self, size: int, until: float | None) -> bytes:
        parts, missing = list[bytes](), size
        while missing:
            try:
                part = os.read(self._reads, min(missing, _PIECE))
            except BlockingIOError:
                self._wait(self._reads, select.POLLIN, until)
                continue
            except OSError as error:
                raise ChannelError("the other end is gone") from error
            if not part:
                raise ChannelError("the other end is gone")
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @staticmethod
    def _wait(descriptor: int, event: int, until: float | None) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if until is None:
            poll.poll()
            return
        left = until - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise ChannelTimeoutError("no answer in time")
