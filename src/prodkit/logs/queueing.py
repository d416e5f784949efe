"""The queue in front of a stream: callers never wait for a slow reader, and what is dropped is counted and reported."""

from __future__ import annotations

import atexit
import io
import os
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

__all__ = ["StreamQueue"]

_AT_ONCE: Final = 256  # lines joined for one write
_FORK_WAITS: Final = 1.0  # seconds; a stream that is stuck must not keep the service from forking


class StreamQueue:
    """Writes lines from a thread of its own; a stream that cannot wait is written at once.

    Args:
        stream: returns the stream at the moment of writing, or None.
        size: lines that may wait; further ones are dropped, counted in :attr:`dropped` and reported by one line.
        report: makes the line that reports a number of dropped lines.
    """

    def __init__(self, stream: Callable[[], Any], *, size: int, report: Callable[[int], bytes]) -> None:
        self._stream = stream
        self._size = size
        self._report = report
        self._lines: deque[bytes] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = self._closed = self._held = False
        self._known: Any = None
        self._prompt = True
        self._unreported = 0
        self.dropped: int = 0
        """Lines that were dropped because the queue was full."""
        self.failures: int = 0
        """Writes that the stream refused."""
        self._forked = False
        self._writing = threading.Lock()
        os.register_at_fork(
            before=self._before_fork, after_in_parent=self._after_fork_here, after_in_child=self._after_fork
        )
        atexit.register(self.close)

    def put(self, line: bytes) -> None:
        """Take `line`, which ends with its line break; never waits for the stream."""
        stream = self._stream()
        if stream is not self._known:
            self._known, self._prompt = stream, _is_prompt(stream)
        if self._thread is None and (self._prompt or self._closed or (self._forked and not _in_loop())):
            self._write(line)
            return
        with self._wake:
            if len(self._lines) >= self._size:
                self.dropped += 1
                self._unreported += 1
                return
            self._lines.append(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="prodkit-logs", daemon=True)
                self._thread.start()
                if self._forked:
                    self._flush_with_multiprocessing()
            elif not self._busy:
                self._wake.notify()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until every line is written, at most `timeout` seconds; return False when some are left."""
        with self._wake:
            self._wake.notify_all()
            return self._thread is None or self._wake.wait_for(
                lambda: not self._lines and not self._busy, timeout
            )

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits, at most `timeout` seconds, and end the thread; later lines are written at once."""
        self.flush(timeout)
        with self._wake:
            self._closed = True
            thread, self._thread = self._thread, None
            self._wake.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        atexit.unregister(self.close)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                self._wake.notify_all()
                while not self._lines and not self._closed:
                    self._wake.wait()
                if not self._lines:
                    return
                batch = [self._lines.popleft() for _ in range(min(len(self._lines), _AT_ONCE))]
                lost, self._unreported = self._unreported, 0
                self._busy = True
            if lost:
                batch.append(self._report(lost))
            self._write(b"".join(batch))

    def _write(self, data: bytes) -> None:
        stream = self._stream()
        if stream is None:
            return
        with self._writing:
            self._write_to(stream, data)

    def _write_to(self, stream: Any, data: bytes) -> None:
        try:
            raw = getattr(stream, "buffer", None)
            if raw is not None:
                raw.write(data)
            else:
                stream.write(data.decode("utf-8", "replace"))
            stream.flush()
        except (OSError, ValueError):  # a pipe whose reader has gone, a stream that is closed
            self.failures += 1

    def _flush_with_multiprocessing(self) -> None:
        """A process of ``multiprocessing`` leaves without ``atexit``, but runs its own finalizers."""
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.Finalize(None, self.flush, exitpriority=0)

    def _before_fork(self) -> None:
        # A fork between `write` and `flush` would copy the stream's buffer, and both processes would write it.
        # The lines before it come first: the child writes at once, the parent's thread when it is scheduled.
        self.flush(_FORK_WAITS)
        self._held = self._writing.acquire(timeout=_FORK_WAITS)

    def _after_fork_here(self) -> None:
        if self._held:
            self._writing.release()

    def _after_fork(self) -> None:
        """The child has no thread and shares no lock; the parent writes what waited.

        A child often leaves by ``os._exit``, which waits for no thread: outside of an event loop, where nothing is
        stalled but its own work, it writes at once.
        """
        self._forked = True
        self._writing = threading.Lock()
        self._wake = threading.Condition()
        self._lines.clear()
        self._thread = None
        self._busy = False


def _in_loop() -> bool:
    """Return True where a write that waits would stall an event loop."""
    events = sys.modules.get("asyncio")
    if events is None:
        return False
    try:
        events.get_running_loop()
    except RuntimeError:
        return False
    return True


def _is_prompt(stream: Any) -> bool:
    """Return True for streams whose write does not wait: memory, regular files and the null device."""
    if stream is None or type(stream) in (io.StringIO, io.BytesIO):
        return True
    with suppress(Exception):
        if type(getattr(stream, "buffer", None)) is io.BytesIO:
            return True
        mode = os.fstat(stream.fileno()).st_mode
        return stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not stream.isatty())
    return False
