"""A stopwatch that stands still while the machine does: for tests that say how long a part of the kit takes."""

from __future__ import annotations

import threading
import time
from typing import Self

_BEAT = 0.01
_STALL = 0.05  # a thread that waits for Python's lock is later than that only where the machine is


class Stopwatch:
    """Seconds in which this process could run.

    A thread sleeps for 10 ms again and again. A sleep that took 50 ms longer was a stall: of the whole machine, or of
    this process, which got no processor. What the code under test waits for does not disturb that thread, for Python
    lets it in every 5 ms. Where it does not, in a long regular expression, the process computes: processor time is no
    stall. So all that the code under test takes is counted.
    """

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._stalled = 0.0
        self._began = self._beat = time.monotonic()
        self._computed = time.process_time()
        self._thread = threading.Thread(target=self._run, name="stopwatch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """Since the beginning, or since the last `restart`; without the stalls."""
        now = time.monotonic()
        return now - self._began - self._stalled - self._late(now)  # the thread may not have seen a stall yet

    def restart(self) -> None:
        """Begin at 0 again."""
        self._began += self.seconds

    def _run(self) -> None:
        while not self._ended.wait(_BEAT):
            now = time.monotonic()
            self._stalled += self._late(now)
            self._beat, self._computed = now, time.process_time()

    def _late(self, now: float) -> float:
        late = now - self._beat - _BEAT - (time.process_time() - self._computed)
        return late if late > _STALL else 0.0
