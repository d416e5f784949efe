"""How long to wait before the next attempt: pure functions of the attempt, a random generator and the last
wait.

``attempt`` is the number of the attempt that has just failed, counted from 1. All results are finite seconds
of at most ``cap`` (times 1 + ``jitter`` for :func:`upward`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import TypeAlias

__all__ = ["Backoff", "constant", "decorrelated", "equal_jitter", "exponential", "full_jitter", "upward"]

Backoff: TypeAlias = Callable[[int, Random, float], float]
"""``backoff(attempt, rng, last_wait) -> seconds``; `last_wait` is 0.0 before the first wait."""


def constant(seconds: float) -> Backoff:
    """The same wait every time. Callers that failed together come back together: prefer a jittered one."""
    _check(base=seconds)
    return lambda attempt, rng, last: seconds


def exponential(base: float = 1.0, *, factor: float = 2.0, cap: float = 60.0) -> Backoff:
    """``base``, ``base * factor``, ``base * factor ** 2`` … up to `cap`, without jitter."""
    _check(base=base, factor=factor, cap=cap)
    return lambda attempt, rng, last: _grown(attempt, base, factor, cap)


def full_jitter(base: float = 0.1, *, factor: float = 2.0, cap: float = 5.0) -> Backoff:
    """Anything between nothing and the exponential wait: spreads a crowd best, and is the default.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    _check(base=base, factor=factor, cap=cap)
    return lambda attempt, rng, last: rng.uniform(0.0, _grown(attempt, base, factor, cap))


def equal_jitter(base: float = 0.1, *, factor: float = 2.0, cap: float = 5.0) -> Backoff:
    """Half of the exponential wait for certain, the other half by chance."""
    _check(base=base, factor=factor, cap=cap)

    def backoff(attempt: int, rng: Random, last: float) -> float:
        half = _grown(attempt, base, factor, cap) / 2
        return half + rng.uniform(0.0, half)

    return backoff


def decorrelated(base: float = 0.1, *, cap: float = 5.0) -> Backoff:
    """Between `base` and three times the last wait, up to `cap`."""
    _check(base=base, cap=cap)
    return lambda attempt, rng, last: min(cap, rng.uniform(base, max(base, 3 * last)))


def upward(base: float = 1.0, *, factor: float = 2.0, cap: float = 60.0, jitter: float = 0.25) -> Backoff:
    """The exponential wait and up to `jitter` of it more: never sooner than promised, which a quota likes."""
    _check(base=base, factor=factor, cap=cap, jitter=jitter)
    return lambda attempt, rng, last: _grown(attempt, base, factor, cap) * (1 + rng.uniform(0.0, jitter))


def _grown(attempt: int, base: float, factor: float, cap: float) -> float:
    try:
        return min(cap, base * factor ** (attempt - 1))
    except OverflowError:
        return cap


def _check(*, base: float, factor: float = 1.0, cap: float = math.inf, jitter: float = 0.0) -> None:
    finite = math.isfinite
    problems = [
        text
        for text, holds in (
            (f"base={base!r} must be a finite number of seconds, 0 or more", base >= 0 and finite(base)),
            (f"factor={factor!r} must be at least 1", factor >= 1 and finite(factor)),
            (f"cap={cap!r} must be at least base={base!r}", cap >= base),
            (f"jitter={jitter!r} must be between 0 and 1", 0 <= jitter <= 1),
        )
        if not holds
    ]
    if problems:
        raise ValueError("; ".join(problems))
