"""The rate limits of the API, learned from its headers, pure: every method takes ``now``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["HeaderBucket", "HedgeShare", "Need", "RateLimits", "Share"]

_ARRIVAL: Final = 0.5  # how long the first request may take to arrive: until then the server's bucket is full
_CAUTION: Final = 0.98  # clocks differ and a request takes time to arrive: stay a little below the rate


class HeaderBucket:
    """A bucket that fills continuously, as the API's do: a model of theirs that may only be too low.

    Takers reserve: the level may go below zero, and each taker waits for as long as its own share needs to
    flow in. So they go one after the other, in the order in which they came, and nobody has to look twice.
    """

    __slots__ = ("_at", "_used", "capacity", "level", "rate")

    def __init__(self) -> None:
        self.capacity: float | None = None  # not known before the first headers
        self.level = 0.0
        self.rate = 0.0
        self._used = 0.0  # what was sent while it was not known
        self._at = 0.0

    def _flow(self, now: float) -> None:
        if self.capacity is not None:
            self.level = min(self.capacity, self.level + max(0.0, now - self._at) * self.rate)
        self._at = now

    def wait(self, amount: float, now: float) -> float:
        """The seconds until `amount` would be there."""
        if self.capacity is None:
            return 0.0
        self._flow(now)
        missing = min(amount, self.capacity) - self.level
        return missing / self.rate if missing > 1e-9 else 0.0

    def take(self, amount: float, now: float) -> float:
        """Reserves `amount` and returns how long the taker has to wait for it."""
        if self.capacity is None:
            return 0.0
        seconds = self.wait(amount, now)
        self.level -= min(amount, self.capacity)
        return seconds

    def sent_blindly(self, amount: float, now: float) -> None:
        """`amount` goes out while the limit is not known; it will be counted when it is."""
        if not self._used:
            self._at = now + _ARRIVAL
        self._used += amount

    def give_back(self, amount: float) -> None:
        """Undoes a reservation that was not used."""
        if self.capacity is not None:
            self.level = min(self.capacity, self.level + min(amount, self.capacity))

    def learn(
        self, limit: float, remaining: float | None, unsent: float, uncounted: float, age: float, now: float
    ) -> None:
        """What a response says. `unsent` is reserved and has not been sent, so the server cannot know it;
        `uncounted` is the most that it may have taken without having counted it when it said so, and `age` the
        longest time ago that this may have been.
        """
        if limit <= 0:
            return
        self.rate = limit / 60 * _CAUTION
        if self.capacity is None:  # full when we began, and we know what we took
            self.capacity, self.level = limit, limit - self._used
            self._flow(now)
        elif limit != self.capacity:
            self._flow(now)
            self.level += limit - self.capacity
            self.capacity = limit
        else:
            self._flow(now)
        # The header is rounded down; within one of it our own finer model is the better one.
        if remaining is not None:
            if self.level + unsent > remaining + 1 + age * self.rate:
                self.level = remaining + 0.5 - unsent
            self.level = max(self.level, remaining - uncounted - unsent)

    def empty(self, unsent: float, now: float) -> None:
        """The server has refused: nothing is left beyond what others will ask it for."""
        if self.capacity is not None:
            self._flow(now)
            self.level = min(self.level, -unsent)


_KINDS: Final = ("requests", "input-tokens", "output-tokens")


Need: TypeAlias = tuple[float, float, float]
"""What a request takes: requests, input tokens, output tokens."""


@dataclass(slots=True)
class Share:
    """What was reserved for one request, of which limits, and how long it has to wait for it."""

    need: Need
    known: tuple[bool, ...]
    wait: float = 0.0
    mark: tuple[float, ...] = ()
    at: float = 0.0


class RateLimits:
    """The buckets of one model: requests, input tokens, output tokens (reserved from ``max_tokens``)."""

    __slots__ = ("_buckets", "_landed", "_sent", "_unsent")

    def __init__(self) -> None:
        self._buckets: dict[str, HeaderBucket] = {kind: HeaderBucket() for kind in _KINDS}
        self._unsent: dict[str, float] = dict.fromkeys(_KINDS, 0.0)
        self._landed: dict[str, float] = dict.fromkeys(_KINDS, 0.0)
        self._sent: dict[str, float] = dict.fromkeys(_KINDS, 0.0)

    def outdated(self, share: Share) -> bool:
        """Whether limits have become known since `share` was taken."""
        return any(
            not known and bucket.capacity is not None
            for bucket, known in zip(self._buckets.values(), share.known, strict=True)
        )

    def wait(self, need: Need, now: float) -> float:
        """The seconds until a request with this need may go."""
        return max(
            bucket.wait(amount, now) for bucket, amount in zip(self._buckets.values(), need, strict=True)
        )

    def take(self, need: Need, now: float) -> Share:
        """Reserves for one request. Then exactly one of :meth:`sent` and :meth:`give_back`."""
        share = Share(need, tuple(bucket.capacity is not None for bucket in self._buckets.values()))
        for (kind, bucket), amount, known in zip(self._buckets.items(), need, share.known, strict=True):
            if known:
                share.wait = max(share.wait, bucket.take(amount, now))
                self._unsent[kind] += amount
        return share

    def sent(self, share: Share, now: float) -> None:
        """The request goes out now. Then :meth:`landed`, when it is answered or given up."""
        for (kind, bucket), amount, known in zip(self._buckets.items(), share.need, share.known, strict=True):
            self._sent[kind] += amount
            if known:
                self._unsent[kind] -= amount
            else:
                bucket.sent_blindly(amount, now)
        share.at = now
        share.mark = tuple(self._landed.values())

    def landed(self, share: Share) -> None:
        """The request is over."""
        for kind, amount in zip(_KINDS, share.need, strict=True):
            self._landed[kind] += amount

    def give_back(self, share: Share) -> None:
        """The request will not go out."""
        for (kind, bucket), amount, known in zip(self._buckets.items(), share.need, share.known, strict=True):
            if known:
                bucket.give_back(amount)
                self._unsent[kind] -= amount

    def learn(self, headers: Mapping[str, str], share: Share, now: float) -> None:
        """Reads ``anthropic-ratelimit-*`` of the answer to `share`'s request, which has landed.

        What is missing or no number is passed over. Of the requests that were under way at the same time, before or
        after it, the server may have counted none when it said so.
        """
        for (kind, bucket), mark, own in zip(self._buckets.items(), share.mark, share.need, strict=True):
            limit = _number(headers.get(f"anthropic-ratelimit-{kind}-limit"))
            if limit is not None:
                remaining = _number(headers.get(f"anthropic-ratelimit-{kind}-remaining"))
                uncounted = self._sent[kind] - mark - own
                bucket.learn(limit, remaining, self._unsent[kind], uncounted, now - share.at, now)

    def refused(self, now: float) -> None:
        """A 429 has come."""
        self._buckets["requests"].empty(self._unsent["requests"], now)


def _number(told: str | None) -> float | None:
    try:
        return float(told) if told is not None else None
    except ValueError:
        return None


class HedgeShare:
    """How many second requests are allowed: a share of the first ones, and one to begin with."""

    __slots__ = ("_allowed", "share")

    def __init__(self, share: float) -> None:
        self.share = share
        self._allowed = 1.0

    def asked(self) -> None:
        """A first request was sent."""
        self._allowed = min(self._allowed + self.share, 10.0)

    def take(self) -> bool:
        """Whether a second one may go; if so it is counted."""
        if self._allowed < 1.0 - 1e-9:
            return False
        self._allowed -= 1.0
        return True
