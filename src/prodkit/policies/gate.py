"""RetryAfterGate: one "not before" instant for all callers of a dependency that throttles.

A 429 answers one caller but speaks to all of them: until ``Retry-After`` is over, every further request is
refused, and with many providers it also counts against the quota. So the first one told closes the gate for
everybody. What waited then goes through at a pace that starts at half of what was asked before and grows
while it goes well.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from prodkit.core.deadline import Deadline
from prodkit.core.events import Event
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import RateLimitedError
from prodkit.policies.base import AsyncFn, Policy, StreamFn, SyncFn

__all__ = ["GateClosed", "GatePassed", "Pace", "RetryAfterGate", "retry_after_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateClosed(Event):
    """The dependency asked for `seconds` of silence."""

    name: ClassVar[str] = "gate.closed"
    gate: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePassed(Event):
    """A call had waited at the gate for `waited` seconds."""

    name: ClassVar[str] = "gate.passed"
    gate: str
    waited: float


def retry_after_of(error: BaseException, now: datetime) -> float | None:
    """How many seconds `error` asks to wait, or None.

    Looks at ``error.retry_after`` (a number, a timedelta, a text), then at the ``Retry-After`` header of
    ``error.response``; both forms of RFC 9110 §10.2.3 are understood, seconds and an HTTP date. Nonsense is
    None.
    """
    return seconds_of(hint_of(error), now)


def hint_of(error: BaseException) -> object:
    """The ``Retry-After`` that `error` carries, as it came."""
    hint = getattr(error, "retry_after", None)
    if hint is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
        if isinstance(headers, Mapping):
            hint = headers.get("retry-after", headers.get("Retry-After"))
    return hint


def seconds_of(hint: object, now: datetime) -> float | None:
    """The seconds that a ``Retry-After`` in any of its forms asks for; never negative."""
    if isinstance(hint, timedelta):
        hint = hint.total_seconds()
    elif isinstance(hint, str):
        hint = _parsed(hint.strip(), now)
    if isinstance(hint, bool) or not isinstance(hint, (int, float)) or not math.isfinite(hint):
        return None
    return max(0.0, float(hint))


def _parsed(text: str, now: datetime) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()


class Pace:
    """When the next call may go: pure, it takes ``now``.

    Free until somebody is throttled. Then calls go one by one, first at half of the rate seen before; each
    success raises the rate by `rise` of itself (five times that after `calm` seconds without a new refusal),
    each refusal cuts it by `cut`, at most once in `quiet` seconds. It is free again at three times the rate
    first seen.
    """

    __slots__ = ("_ceiling", "_cut_at", "_seen", "_since", "_slot", "not_before", "rate")

    rise = 0.01
    cut = 0.8
    calm = 4.0
    quiet = 0.5

    def __init__(self) -> None:
        self.not_before = -math.inf
        self.rate: float | None = None
        self._slot = -math.inf
        self._ceiling = math.inf
        self._cut_at = -math.inf
        self._seen = 0
        self._since: float | None = None

    def next(self, now: float) -> float:
        """The earliest instant at which a call that asks at `now` may go."""
        return max(now, self.not_before, now if self.rate is None else self._slot)

    def reserve(self, at: float) -> None:
        """The slot at `at`, which :meth:`next` returned, is taken."""
        if self._since is None or at - self._since > 10.0:
            self._since, self._seen = at, 0
        self._seen += 1
        if self.rate is not None:
            self._slot = at + 1.0 / self.rate

    def give_back(self, at: float) -> None:
        """Whoever had reserved `at` does not go. Only the last slot can be given back; others stay unused."""
        if self.rate is not None and self._slot == at + 1.0 / self.rate:
            self._slot = at

    def throttled(self, now: float, seconds: float) -> None:
        """The dependency asked for `seconds` of silence."""
        self.not_before = max(self.not_before, now + seconds)
        if now - self._cut_at < self.quiet:
            return
        self._cut_at = now
        if self.rate is None:
            asked = self._seen / max(1.0, now - (self._since if self._since is not None else now))
            self.rate, self._ceiling = max(1.0, asked / 2), max(2.0, asked * 3)
            self._slot = self.not_before
        else:
            self.rate = max(0.1, self.rate * self.cut)

    def succeeded(self, now: float) -> None:
        """A call came back well."""
        if self.rate is None:
            return
        self.rate *= 1 + (self.rise * 5 if now - self._cut_at > self.calm else self.rise)
        if self.rate > self._ceiling:
            self.rate = None


class RetryAfterGate(Policy):
    """Holds all calls back while a dependency asks for silence, and lets them through at a pace it bears.

    ::

        gate = RetryAfterGate("perplexity")
        await Pipeline(Retry(attempts=4), gate, Timeout(5)).run(research, topic)

    An error that says when to come back (see :func:`retry_after_of`) closes the gate for all its callers,
    plus `margin` of that time. A caller waits; when it would wait longer than `max_wait`, or past its
    :class:`~prodkit.Deadline`, it gets :class:`RateLimitedError` with ``retry_after`` at once. Waiters go in
    the order in which they came; a cancelled one gives up its place. Share one gate between all callers of a
    quota.
    """

    rank = 45

    def __init__(
        self,
        name: str = "",
        *,
        max_wait: float = 60.0,
        margin: float = 0.02,
        hint: Callable[[BaseException, datetime], float | None] = retry_after_of,
        runtime: Runtime = SYSTEM,
    ) -> None:
        problems = [
            f"{option}={value!r} must be {must}"
            for option, value, must, holds in (
                ("max_wait", max_wait, "0 or more seconds", max_wait >= 0),
                ("margin", margin, "between 0 and 1", 0 <= margin <= 1),
            )
            if not holds
        ]
        if problems:
            raise ValueError("; ".join(problems))
        self.name = name
        self.runtime = runtime
        self._max_wait = max_wait
        self._margin = 1 + margin
        self._hint = hint
        self._pace = Pace()

    @property
    def not_before(self) -> float:
        """The instant until which the dependency asked for silence."""
        return self._pace.not_before

    def close(self, seconds: float) -> None:
        """Closes the gate for `seconds`: for whoever learns of a limit by a header or an event."""
        seconds *= self._margin
        self._pace.throttled(self.runtime.clock.monotonic(), seconds)
        if (events := self.runtime.events).listened:
            events.emit(GateClosed(gate=self.name, seconds=seconds))

    async def enter(self) -> None:
        """Waits for this call's turn. Follow it with :meth:`succeeded` or :meth:`failed`."""
        clock, pace = self.runtime.clock, self._pace
        start = now = clock.monotonic()
        while (at := pace.next(now)) > now:
            self._refuse_late(start, at, now)
            pace.reserve(at)
            try:
                await clock.sleep(at - now)
            except BaseException:
                pace.give_back(at)
                raise
            now = clock.monotonic()
            if pace.not_before <= now:  # else somebody was refused meanwhile: once more
                break
        else:
            pace.reserve(now)
        if now > start and (events := self.runtime.events).listened:
            events.emit(GatePassed(gate=self.name, waited=now - start))

    def succeeded(self) -> None:
        """The call came back well."""
        if self._pace.rate is not None:
            self._pace.succeeded(self.runtime.clock.monotonic())

    def failed(self, error: BaseException) -> None:
        """The call failed; if `error` says when to come back, the gate closes."""
        seconds = self._hint(error, self.runtime.clock.now())
        if seconds is not None and seconds > 0:
            self.close(seconds)

    def _refuse_late(self, start: float, at: float, now: float) -> None:
        if at >= Deadline.instant() or at - start > self._max_wait:
            raise RateLimitedError(
                f"{self.name or 'the dependency'} is throttled: the next turn is in {at - now:.3g} s",
                retry_after=at - now,
                limit=self.name,
            )

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            await self.enter()
            try:
                result = await fn(*args, **kwargs)
            except Exception as error:
                self.failed(error)
                raise
            self.succeeded()
            return result

        return guarded

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        raise TypeError("RetryAfterGate queues tasks, not threads: use it with async functions")

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        async def guarded(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            await self.enter()
            try:
                async with aclosing(fn(*args, **kwargs)) as items:  # type: ignore[type-var]
                    async for item in items:
                        yield item
            except Exception as error:
                self.failed(error)
                raise
            self.succeeded()

        return guarded

    def __repr__(self) -> str:
        return f"RetryAfterGate({self.name!r})"
