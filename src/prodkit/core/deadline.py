"""One absolute instant per request, seen by everything that the request calls.

A deadline is set once, at the edge; each wait below takes the sooner of its own limit and the deadline, and cancels
what overruns. A nested deadline can only come sooner (the rule of Go's ``context``). It travels in a
:class:`~contextvars.ContextVar`: tasks started inside inherit it, and work that must outlive the request says so
with :meth:`Deadline.detached`.
"""

from __future__ import annotations

import math
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Self

from prodkit.core.clock import Clock, LoopClock
from prodkit.errors import DeadlineExceededError

__all__ = ["Deadline"]

_CLOCK: Final = LoopClock()
_current: ContextVar[float] = ContextVar("prodkit_deadline", default=math.inf)


class Deadline:
    """The instant by which a piece of work has to be over.

    ::

        with Deadline.after(20):          # everything below fits in 20 s
            rows = await db.fetch("select 1")

    Entering only narrows: inside ``Deadline.after(5)`` a ``Deadline.after(60)`` still ends after five seconds. The
    block itself is not interrupted; whatever waits inside it is. Instants are those of the running loop's clock.
    """

    __slots__ = ("_clock", "_token", "at")

    def __init__(self, at: float, *, clock: Clock = _CLOCK) -> None:
        """`at` is an instant of `clock`; ``math.inf`` means no limit."""
        if math.isnan(at):
            raise ValueError("a deadline needs an instant, got nan")
        self.at = at
        self._clock = clock
        self._token: Token[float] | None = None

    @classmethod
    def after(cls, seconds: float, *, clock: Clock = _CLOCK) -> Deadline:
        """The deadline `seconds` from now; 0 or less has already passed."""
        if math.isnan(seconds):
            raise ValueError("Deadline.after needs a number of seconds, got nan")
        return cls(clock.monotonic() + seconds, clock=clock)

    @classmethod
    def detached(cls) -> Deadline:
        """No deadline, for background work that outlives the request that started it."""
        return _Detached(math.inf)

    @classmethod
    def current(cls) -> Deadline | None:
        """The deadline in force here, or None."""
        at = _current.get()
        return None if at == math.inf else cls(at)

    @classmethod
    def instant(cls) -> float:
        """The instant in force here as a bare float, ``math.inf`` where there is none: for hot paths."""
        return _current.get()

    @classmethod
    def sooner(cls, timeout: float | None, *, clock: Clock = _CLOCK) -> float | None:
        """The sooner of a relative `timeout` and what is left of the deadline; never negative, None for no limit."""
        at = _current.get()
        if at == math.inf:
            return timeout
        left = max(0.0, at - clock.monotonic())
        return left if timeout is None else min(timeout, left)

    def remaining(self) -> float:
        """Seconds left; 0.0 once it has passed."""
        return max(0.0, self.at - self._clock.monotonic())

    @property
    def expired(self) -> bool:
        """Whether the instant has come."""
        return self._clock.monotonic() >= self.at

    def check(self) -> None:
        """Raises :class:`DeadlineExceededError` once it has passed."""
        if self.expired:
            raise DeadlineExceededError("the deadline has passed")

    def _narrowed(self) -> float:
        return min(self.at, _current.get())

    def __enter__(self) -> Self:
        if self._token is not None:
            raise RuntimeError("this Deadline is already entered; make one per block")
        self.at = self._narrowed()
        self._token = _current.set(self.at)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        assert token is not None
        _current.reset(token)

    def __repr__(self) -> str:
        return f"Deadline(in {self.at - self._clock.monotonic():.3f} s)"


class _Detached(Deadline):
    __slots__ = ()

    def _narrowed(self) -> float:
        return math.inf
