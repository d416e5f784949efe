"""The memory of one simulated source: its script, its quota, its counters and the record of every request."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from prodkit.testing.sources.behaviour import Behaviour, BehaviourLike

__all__ = ["Counters", "Received", "State"]

_KEPT = 20_000


@dataclass(slots=True)
class Received:
    """One request as the source saw it. Instants are of ``time.monotonic``, which all processes here share."""

    number: int
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    at: float
    behaviour: str
    status: int = 0
    outcome: str = "open"  # open, done, aborted (by the client), broken (by the behaviour)


@dataclass(slots=True)
class Counters:
    """Totals of one source since the start or the last reset; ``open_requests`` is of this moment."""

    requests: int = 0
    completed: int = 0
    aborted: int = 0
    broken: int = 0
    open_requests: int = 0
    units: int = 0
    by_status: dict[str, int] = field(default_factory=dict[str, int])
    by_path: dict[str, int] = field(default_factory=dict[str, int])


class State:
    """The script and the record of one source."""

    def __init__(self) -> None:
        self.counters: Counters = Counters()
        self.received: deque[Received] = deque(maxlen=_KEPT)
        self.quota: int | None = None
        self._queue: deque[Behaviour] = deque()
        self._default = Behaviour()
        self._storm: tuple[float, Behaviour] = (0.0, self._default)
        self._number = 0

    def script(self, behaviours: list[BehaviourLike]) -> None:
        """Add to the queue."""
        self._queue.extend(Behaviour.of(each) for each in behaviours)

    def always(self, behaviour: BehaviourLike) -> None:
        """Set the behaviour for an empty queue."""
        self._default = Behaviour.of(behaviour)

    def storm(self, behaviour: BehaviourLike, seconds: float) -> None:
        """Answer every request with one behaviour for `seconds` from now."""
        self._storm = (time.monotonic() + seconds, Behaviour.of(behaviour))

    def next_behaviour(self) -> Behaviour:
        """A storm first, then the queue, then the default."""
        until, behaviour = self._storm
        if time.monotonic() < until:
            return behaviour
        return self._queue.popleft() if self._queue else self._default

    def spend(self, units: int) -> bool:
        """Count the units of a request; False when they are above the quota, and then nothing is counted."""
        if self.quota is not None and self.counters.units + units > self.quota:
            return False
        self.counters.units += units
        return True

    @property
    def left(self) -> int | None:
        """Units that the quota still holds; None without a quota."""
        return None if self.quota is None else max(0, self.quota - self.counters.units)

    def begin(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: Any,
        kind: str,
    ) -> Received:
        """Record a request; its ``number`` counts from 1."""
        self._number += 1
        entry = Received(self._number, method, path, dict(query), dict(headers), body, time.monotonic(), kind)
        self.received.append(entry)
        count = self.counters
        count.requests += 1
        count.open_requests += 1
        count.by_path[path] = count.by_path.get(path, 0) + 1
        return entry

    def finish(self, entry: Received, outcome: str) -> None:
        """Settle a request; only its first outcome counts."""
        if entry.outcome != "open":
            return
        entry.outcome = outcome
        count = self.counters
        count.open_requests -= 1
        if outcome == "done":
            count.completed += 1
        elif outcome == "aborted":
            count.aborted += 1
        else:
            count.broken += 1
        status = str(entry.status)
        count.by_status[status] = count.by_status.get(status, 0) + 1

    def reset(self) -> None:
        """Forget script, storm, quota and record; open requests stay counted."""
        open_requests, number = self.counters.open_requests, self._number
        self.__init__()  # type: ignore[misc]
        self._number = number
        self.counters.open_requests = open_requests

    def as_json(self, *, requests: bool = True) -> dict[str, Any]:
        """Counters and requests."""
        return {
            "counters": asdict(self.counters),
            "requests": [asdict(each) for each in self.received] if requests else [],
        }
