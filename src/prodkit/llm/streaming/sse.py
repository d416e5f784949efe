"""Server-Sent Events from bytes, pure and incremental."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Decoder"]

_MAX_EVENT: Final = 16 * 2**20


@dataclass(slots=True)
class Decoder:
    """Takes bytes as they come and returns complete events as ``(event, data)``.

    Events are ended by a blank line, in any of the three spellings of a line end. The last one may lack it:
    :meth:`close` returns that one.
    """

    _rest: bytes = b""
    _held: bytes = b""

    @property
    def pending(self) -> bool:
        """True when an event has begun and not ended."""
        return bool(self._rest.strip())

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the events that `data` completes.

        Raises:
            ValueError: an event is larger than 16 MiB.
        """
        if self._held or b"\r" in data:
            data = self._unified(data)
        if self._rest:
            data = self._rest + data
        *blocks, self._rest = data.split(b"\n\n")
        if len(self._rest) > _MAX_EVENT:
            raise ValueError("an event of the stream is larger than 16 MiB")
        events = []
        for block in blocks:
            event = text = b""
            for line in block.split(b"\n"):
                if line.startswith(b"data:"):
                    value = line[6:] if line[5:6] == b" " else line[5:]
                    text = text + b"\n" + value if text else value
                elif line.startswith(b"event:"):
                    event = line[6:].strip()
            if event or text:
                events.append((event, text))
        return events

    def close(self) -> list[tuple[bytes, bytes]]:
        """Return the last event, when the stream ended without its blank line."""
        return self.feed(b"\n\n") if self.pending else []

    def _unified(self, data: bytes) -> bytes:
        """Return `data` with plain line ends; a last CR waits, as its LF may come with the next bytes."""
        data = self._held + data
        self._held = b""
        if data.endswith(b"\r"):
            self._held, data = b"\r", data[:-1]
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
