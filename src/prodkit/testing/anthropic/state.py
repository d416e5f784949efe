"""The memory of the simulator: the script of behaviours, the counters and the record of every request."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from prodkit.testing.anthropic.behaviour import Behaviour, BehaviourLike

__all__ = ["Counters", "Received", "State"]

_KEPT = 20_000


@dataclass(slots=True)
class Received:
    """One request as the server saw it. Instants are of ``time.monotonic``, which all processes here share."""

    number: int
    path: str
    at: float
    headers: dict[str, str]
    body: Any
    behaviour: str
    model: str = ""
    stream: bool = False
    status: int = 0
    outcome: str = "open"  # open, done, aborted (by the client), broken (by the behaviour)
    finished_at: float | None = None
    binary: bool = False  # answered in Amazon's event stream


@dataclass(slots=True)
class Counters:
    """Totals since the start or the last reset; the three about sockets and streams are of this moment."""

    requests: int = 0
    completed: int = 0
    aborted: int = 0
    broken: int = 0
    open_sockets: int = 0
    peak_sockets: int = 0
    open_requests: int = 0
    peak_requests: int = 0
    by_model: dict[str, int] = field(default_factory=dict[str, int])
    by_status: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True)
class Bucket:
    """A token bucket that fills continuously, as the API's does."""

    per_minute: float
    level: float
    at: float

    def take(self, now: float, amount: float) -> float:
        """Take `amount` and return 0.0, or return the seconds until it is there."""
        self.level = min(self.per_minute, self.level + (now - self.at) * self.per_minute / 60)
        self.at = now
        if self.level >= amount:
            self.level -= amount
            return 0.0
        return (amount - self.level) * 60 / self.per_minute


class State:
    """The script and the record."""

    def __init__(self) -> None:
        self.counters: Counters = Counters()
        self.received: deque[Received] = deque(maxlen=_KEPT)
        self._queue: deque[Behaviour] = deque()
        self._queues: dict[str, deque[Behaviour]] = {}
        self._default = Behaviour()
        self._defaults: dict[str, Behaviour] = {}
        self._storms: dict[str | None, tuple[float, Behaviour]] = {}
        self.rejected_fields: dict[str, tuple[str, ...]] = {}
        self.unknown_models: frozenset[str] = frozenset()
        self.requests_limit: Bucket | None = None
        self._number = 0

    def script(self, behaviours: list[BehaviourLike], model: str | None) -> None:
        """Add to the queue of all requests, or of one model's."""
        queue = self._queue if model is None else self._queues.setdefault(model, deque())
        queue.extend(Behaviour.of(each) for each in behaviours)

    def always(self, behaviour: BehaviourLike, model: str | None) -> None:
        """Set the behaviour for empty queues."""
        if model is None:
            self._default = Behaviour.of(behaviour)
        else:
            self._defaults[model] = Behaviour.of(behaviour)

    def storm(self, behaviour: BehaviourLike, seconds: float, model: str | None) -> None:
        """Answer every request of a model, or of all, with one behaviour for `seconds` from now."""
        self._storms[model] = (time.monotonic() + seconds, Behaviour.of(behaviour))

    def configure(self, model: str, rejects: list[str], unknown: bool) -> None:
        """Fields that a model refuses with 400; `unknown` makes it a 404."""
        self.rejected_fields[model] = tuple(rejects)
        self.unknown_models = self.unknown_models | {model} if unknown else self.unknown_models - {model}

    def limit(self, per_minute: float | None, burst: float | None) -> None:
        """Answer 429 beyond `per_minute` requests; `burst` may come at once."""
        if per_minute is None:
            self.requests_limit = None
        else:
            now = time.monotonic()
            self.requests_limit = Bucket(per_minute, per_minute if burst is None else burst, now)

    def next_behaviour(self, model: str) -> Behaviour:
        """A storm first, then the model's queue, the common one, the model's default, the default."""
        now = time.monotonic()
        for key in (model, None):
            until, behaviour = self._storms.get(key, (0.0, self._default))
            if now < until:
                return behaviour
        if queue := self._queues.get(model):
            return queue.popleft()
        if self._queue:
            return self._queue.popleft()
        return self._defaults.get(model, self._default)

    def begin(self, path: str, headers: Mapping[str, str], body: Any, behaviour: str) -> Received:
        """Record a request; its ``number`` counts from 1."""
        self._number += 1
        sent = body if isinstance(body, dict) else {}
        entry = Received(
            number=self._number,
            path=path,
            at=time.monotonic(),
            headers=dict(headers),
            body=body,
            behaviour=behaviour,
            model=str(sent.get("model", "")),
            stream=bool(sent.get("stream")),
        )
        self.received.append(entry)
        count = self.counters
        count.requests += 1
        count.open_requests += 1
        count.peak_requests = max(count.peak_requests, count.open_requests)
        if entry.model:
            count.by_model[entry.model] = count.by_model.get(entry.model, 0) + 1
        return entry

    def finish(self, entry: Received, outcome: str) -> None:
        """Settle a request."""
        if entry.outcome != "open":
            return
        entry.outcome = outcome
        entry.finished_at = time.monotonic()
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

    def socket(self, change: int) -> None:
        """A connection was opened (1) or closed (-1)."""
        self.counters.open_sockets += change
        self.counters.peak_sockets = max(self.counters.peak_sockets, self.counters.open_sockets)

    def reset(self) -> None:
        """Forget script, limits and record; open sockets stay counted."""
        open_sockets, open_requests = self.counters.open_sockets, self.counters.open_requests
        number = self._number
        self.__init__()  # type: ignore[misc]
        self._number = number
        self.counters.open_sockets = self.counters.peak_sockets = open_sockets
        self.counters.open_requests = self.counters.peak_requests = open_requests

    def as_json(self, *, since: int = 0, requests: bool = True) -> dict[str, Any]:
        """Counters and the requests with a number above `since`."""
        kept = [asdict(each) for each in self.received if each.number > since] if requests else []
        return {"counters": asdict(self.counters), "requests": kept}
