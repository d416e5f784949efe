"""Headers by which a deadline, a request id and a trace cross to the next process."""

from __future__ import annotations

import math
from typing import Any, Final

from prodkit.core import correlation
from prodkit.core.clock import Clock
from prodkit.core.deadline import Deadline

__all__ = ["DEADLINE", "REQUEST_ID", "TRACE", "Propagation"]

DEADLINE: Final = "X-Deadline-Ms"
"""The milliseconds that the caller still waits; the receiving side is ``web.install``."""

REQUEST_ID: Final = "X-Request-ID"
TRACE: Final = "traceparent"


class Propagation:
    """Sets the headers of one request; the remaining time is set again for each attempt.

    Headers that the caller set stay as they are.

    Args:
        request: of httpx or httpx2.
        clock: source of the current instant.
        limit: seconds that an attempt may take.
    """

    __slots__ = ("_clock", "_deadline", "_limit", "_request")

    def __init__(self, request: Any, clock: Clock, limit: float | None) -> None:
        headers = request.headers
        self._request = request
        self._clock = clock
        self._limit = math.inf if limit is None else limit
        self._deadline = DEADLINE not in headers
        name = correlation.request_id.get()
        if name is not None and REQUEST_ID not in headers:
            headers[REQUEST_ID] = name
        if TRACE not in headers:
            headers[TRACE] = correlation.next_traceparent()

    def before_attempt(self) -> None:
        """Set the remaining time: the sooner of the attempt's limit and the Deadline in force."""
        at = Deadline.instant()
        left = self._limit if at == math.inf else min(self._limit, at - self._clock.monotonic())
        if self._deadline and left != math.inf:
            self._request.headers[DEADLINE] = str(max(1, int(left * 1000)))
