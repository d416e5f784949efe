"""Deadline: one absolute instant per request, in force for everything that the request calls.

A deadline is set once, at the edge; each wait below takes the sooner of its own limit and the deadline, and cancels
what overruns. A nested deadline can only come sooner (the rule of Go's ``context``). It travels in a
:class:`~contextvars.ContextVar`: tasks started inside inherit it, and work that must outlive the request uses
:meth:`Deadline.detached`.
"""

from __future__ import annotations

import math
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Self

from prodkit.core.clock import Clock, LoopClock
from prodkit.core.validate import Arguments
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
    block itself is not interrupted; each wait inside it is. Instants are those of the running loop's clock. Made by
    :meth:`after`, :meth:`detached` and :meth:`current`; calling the class is refused, because ``Deadline(5)`` could
    mean five seconds or an instant.
    """

    __slots__ = ("_clock", "_token", "at")

    _clock: Clock
    _token: Token[float] | None
    at: float
    """The instant, in seconds of the clock; ``math.inf`` for none."""

    def __init__(self, *_: object, **__: object) -> None:
        raise TypeError("a Deadline is made from a duration: use Deadline.after(seconds)")

    @classmethod
    def _at(cls, at: float, clock: Clock = _CLOCK) -> Self:
        made = object.__new__(cls)
        made.at, made._clock, made._token = at, clock, None
        return made

    @classmethod
    def after(cls, seconds: float, *, clock: Clock = _CLOCK) -> Deadline:
        """Return the deadline `seconds` from now.

        Args:
            seconds: 0 or less has already passed; ``math.inf`` is no limit.
            clock: source of the current instant; the running loop's by default.

        Raises:
            TypeError: `seconds` is not a number.
            ValueError: `seconds` is NaN.
        """
        if seconds.__class__ is not float or seconds != seconds:
            check = Arguments("Deadline.after")
            check.number("seconds", seconds, infinite=True)
            check.done()
        return cls._at(clock.monotonic() + seconds, clock)

    @classmethod
    def detached(cls) -> Deadline:
        """Return no deadline, for background work that outlives the request that started it."""
        return _Detached._at(math.inf)

    @classmethod
    def current(cls) -> Deadline | None:
        """Return the deadline in force here, or None."""
        at = _current.get()
        return None if at == math.inf else cls._at(at)

    @classmethod
    def instant(cls) -> float:
        """Return the instant in force here as a bare float, ``math.inf`` where there is none: for hot paths."""
        return _current.get()

    @classmethod
    def sooner(cls, timeout: float | None, *, clock: Clock = _CLOCK) -> float | None:
        """Return the sooner of a relative limit and what is left of the deadline, in seconds; None for no limit.

        Args:
            timeout: seconds, or None for no limit of the caller's own.
            clock: source of the current instant; the running loop's by default.
        """
        at = _current.get()
        if at == math.inf:
            return timeout
        left = max(0.0, at - clock.monotonic())
        return left if timeout is None else min(timeout, left)

    def remaining(self) -> float:
        """Return the seconds left; 0.0 once it has passed."""
        return max(0.0, self.at - self._clock.monotonic())

    @property
    def expired(self) -> bool:
        """True once the instant has come."""
        return self._clock.monotonic() >= self.at

    def check(self) -> None:
        """Raise :class:`DeadlineExceededError` once it has passed."""
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
