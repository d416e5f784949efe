"""Learn the API's rate limits from its headers, pure: every method takes ``now``.

The API counts in buckets that fill continuously. A client sees them only in response headers, which describe the past:

    client  ──send A──send B──────────────────send C──
                 ╲       ╲          ╱ "remaining 8"
    server  ──────A counted╲──respond A───────────────
                            ╲─B counted───────────────

When "remaining 8" arrives, B may or may not be in it. So the level is kept between two bounds: not above
``remaining + 1`` (the header is rounded down) less what is reserved and not yet sent, and not below ``remaining`` less
everything sent since A landed, which the server may not have counted when it wrote the header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["HeaderBucket", "HedgeShare", "Need", "RateLimits", "Reservation"]

_ARRIVAL: Final = (
    0.5  # seconds that the first request may take to arrive: until then the server's bucket is full
)
_CAUTION: Final = 0.98  # clocks differ and a request takes time to arrive: stay a little below the rate


class HeaderBucket:
    """A model of one bucket of the API that errs only on the low side.

    Callers reserve: the level may go below zero, and each caller waits until its own share has flowed in. They go one
    after the other, in the order in which they came, and never have to look twice.
    """

    __slots__ = ("_at", "_used", "capacity", "level", "rate")

    def __init__(self) -> None:
        self.capacity: float | None = None  # unknown before the first headers
        self.level: float = 0.0
        self.rate: float = 0.0
        self._used = 0.0  # sent while the capacity was unknown
        self._at = 0.0

    def _flow(self, now: float) -> None:
        if self.capacity is not None:
            self.level = min(self.capacity, self.level + max(0.0, now - self._at) * self.rate)
        self._at = now

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until `amount` is there."""
        if self.capacity is None:
            return 0.0
        self._flow(now)
        missing = min(amount, self.capacity) - self.level
        return missing / self.rate if missing > 1e-9 else 0.0

    def take(self, amount: float, now: float) -> float:
        """Reserve `amount` and return the seconds to wait for it."""
        if self.capacity is None:
            return 0.0
        seconds = self.wait(amount, now)
        self.level -= min(amount, self.capacity)
        return seconds

    def sent_blindly(self, amount: float, now: float) -> None:
        """Count `amount` that is sent while the limit is unknown."""
        if not self._used:
            self._at = now + _ARRIVAL
        self._used += amount

    def give_back(self, amount: float) -> None:
        """Undo a reservation that was not used."""
        if self.capacity is not None:
            self.level = min(self.capacity, self.level + min(amount, self.capacity))

    def learn(
        self, limit: float, remaining: float | None, unsent: float, uncounted: float, age: float, now: float
    ) -> None:
        """Take in the headers of one response.

        Args:
            limit: the capacity, which is also the amount that flows in within a minute.
            remaining: the level that the server saw, rounded down.
            unsent: reserved and not yet sent, so the server cannot know it.
            uncounted: the most that the server may have received without having counted it in `remaining`.
            age: the longest time, in seconds, since the server wrote the header.
            now: the current instant.
        """
        if limit <= 0:
            return
        self.rate = limit / 60 * _CAUTION
        if self.capacity is None:  # full when the first request was sent, and our use is known
            self.capacity, self.level = limit, limit - self._used
            self._flow(now)
        else:
            self._flow(now)
            self.level += limit - self.capacity
            self.capacity = limit
        # The header is rounded down; within one of it, the finer model here is the better one.
        if remaining is not None:
            if self.level + unsent > remaining + 1 + age * self.rate:
                self.level = remaining + 0.5 - unsent
            self.level = max(self.level, remaining - uncounted - unsent)

    def empty(self, unsent: float, now: float) -> None:
        """Take in a refusal: nothing is left beyond what others have reserved."""
        if self.capacity is not None:
            self._flow(now)
            self.level = min(self.level, -unsent)


_KINDS: Final = ("requests", "input-tokens", "output-tokens")
_HEADERS: Final = tuple(
    (f"anthropic-ratelimit-{kind}-limit", f"anthropic-ratelimit-{kind}-remaining") for kind in _KINDS
)
_BLIND: Final = (False, False, False)

Need: TypeAlias = tuple[float, float, float]
"""The amounts that a request takes: requests, input tokens, output tokens."""


@dataclass(slots=True)
class Reservation:
    """The amounts reserved for one request, of which limits, and how long it has to wait for them."""

    need: Need
    known: tuple[bool, ...]
    wait: float = 0.0
    mark: Need = (0.0, 0.0, 0.0)
    at: float = 0.0


class RateLimits:
    """The buckets of one model: requests, input tokens, output tokens (reserved from ``max_tokens``)."""

    __slots__ = ("_buckets", "_landed", "_sent", "_unsent", "known")

    def __init__(self) -> None:
        self._buckets = tuple(HeaderBucket() for _ in _KINDS)
        self._unsent = [0.0, 0.0, 0.0]
        self._landed = [0.0, 0.0, 0.0]
        self._sent = [0.0, 0.0, 0.0]
        self.known: bool = False  # True once a limit was seen: until then nothing has to be computed

    def outdated(self, reservation: Reservation) -> bool:
        """Return True when limits have become known since `reservation` was made."""
        pairs = zip(self._buckets, reservation.known, strict=True)
        return any(not known and bucket.capacity is not None for bucket, known in pairs)

    def wait(self, need: Need, now: float) -> float:
        """Return the seconds until a request with this `need` may be sent."""
        pairs = zip(self._buckets, need, strict=True)
        return max(bucket.wait(amount, now) for bucket, amount in pairs)

    def take(self, need: Need, now: float) -> Reservation:
        """Reserve for one request. Follow it with exactly one of :meth:`sent` and :meth:`give_back`."""
        if not self.known:
            return Reservation(need, _BLIND)
        reservation = Reservation(need, tuple(bucket.capacity is not None for bucket in self._buckets))
        for kind, bucket in enumerate(self._buckets):
            if reservation.known[kind]:
                reservation.wait = max(reservation.wait, bucket.take(need[kind], now))
                self._unsent[kind] += need[kind]
        return reservation

    def sent(self, reservation: Reservation, now: float) -> None:
        """Count a request that is sent now. Follow it with :meth:`landed`."""
        for kind, amount in enumerate(reservation.need):
            self._sent[kind] += amount
            if reservation.known[kind]:
                self._unsent[kind] -= amount
            else:
                self._buckets[kind].sent_blindly(amount, now)
        reservation.at = now
        reservation.mark = (self._landed[0], self._landed[1], self._landed[2])

    def landed(self, reservation: Reservation, headers: Mapping[str, str] | None, now: float) -> None:
        """Count a request as arrived, and read ``anthropic-ratelimit-*`` of its response, where there is one.

        Headers that are missing or no number are ignored. Of the requests in flight at the same time, before or after
        it, the server may have counted none when it wrote them.
        """
        for kind, amount in enumerate(reservation.need):
            self._landed[kind] += amount
        if headers is None:
            return
        for kind, (limit_header, remaining_header) in enumerate(_HEADERS):
            if (text := headers.get(limit_header)) is None or (limit := _number(text)) is None:
                continue
            remaining = _number(headers.get(remaining_header))
            uncounted = self._sent[kind] - reservation.mark[kind] - reservation.need[kind]
            self._buckets[kind].learn(
                limit, remaining, self._unsent[kind], uncounted, now - reservation.at, now
            )
            self.known = True

    def give_back(self, reservation: Reservation) -> None:
        """Undo a reservation: the request is not sent."""
        for kind, amount in enumerate(reservation.need):
            if reservation.known[kind]:
                self._buckets[kind].give_back(amount)
                self._unsent[kind] -= amount

    def refused(self, now: float) -> None:
        """Take in a 429."""
        self._buckets[0].empty(self._unsent[0], now)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


class HedgeShare:
    """Limits second requests to a share of the first ones, and one to begin with."""

    __slots__ = ("_allowed", "share")

    def __init__(self, share: float) -> None:
        self.share: float = share
        self._allowed = 1.0

    def sent(self) -> None:
        """Count a first request."""
        self._allowed = min(self._allowed + self.share, 10.0)

    def take(self) -> bool:
        """Count a second request, or return False when none is allowed."""
        if self._allowed < 1.0 - 1e-9:
            return False
        self._allowed -= 1.0
        return True
