"""Backoffs: the seconds to wait before the next attempt, as pure functions of attempt, randomness and last wait.

``attempt`` is the number of the attempt that has just failed, counted from 1. All results are finite seconds of at most
``cap`` (times 1 + ``jitter`` for :func:`upward`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import TypeAlias

from prodkit.core.validate import Arguments

__all__ = ["Backoff", "constant", "decorrelated", "equal_jitter", "exponential", "full_jitter", "upward"]

Backoff: TypeAlias = Callable[[int, Random, float], float]
"""``backoff(attempt, rng, last_wait) -> seconds``; `last_wait` is 0.0 before the first wait."""


def constant(seconds: float) -> Backoff:
    """Return a backoff with the same wait every time.

    Callers that failed together come back together: prefer a jittered one.

    Args:
        seconds: the wait.
    """
    _check(base=seconds)
    return lambda attempt, rng, last: seconds


def exponential(base: float = 1.0, *, factor: float = 2.0, cap: float = 60.0) -> Backoff:
    """Return a backoff of ``base``, ``base * factor``, ``base * factor ** 2`` … without jitter.

    Args:
        base: seconds of the first wait.
        factor: growth from one wait to the next.
        cap: longest wait, in seconds.
    """
    _check(base=base, factor=factor, cap=cap)
    return lambda attempt, rng, last: _grown(attempt, base, factor, cap)


def full_jitter(base: float = 0.1, *, factor: float = 2.0, cap: float = 5.0) -> Backoff:
    """Return a backoff between nothing and the exponential wait: spreads callers best, and is the default.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Args:
        base: seconds of the first wait.
        factor: growth from one wait to the next.
        cap: longest wait, in seconds.
    """
    _check(base=base, factor=factor, cap=cap)
    return lambda attempt, rng, last: rng.uniform(0.0, _grown(attempt, base, factor, cap))


def equal_jitter(base: float = 0.1, *, factor: float = 2.0, cap: float = 5.0) -> Backoff:
    """Return a backoff of half of the exponential wait for certain, and the other half by chance.

    Args:
        base: seconds of the first wait.
        factor: growth from one wait to the next.
        cap: longest wait, in seconds.
    """
    _check(base=base, factor=factor, cap=cap)

    def backoff(attempt: int, rng: Random, last: float) -> float:
        half = _grown(attempt, base, factor, cap) / 2
        return half + rng.uniform(0.0, half)

    return backoff


def decorrelated(base: float = 0.1, *, cap: float = 5.0) -> Backoff:
    """Return a backoff between `base` and three times the last wait, up to `cap`.

    Args:
        base: shortest wait, in seconds.
        cap: longest wait, in seconds.
    """
    _check(base=base, cap=cap)
    return lambda attempt, rng, last: min(cap, rng.uniform(base, max(base, 3 * last)))


def upward(base: float = 1.0, *, factor: float = 2.0, cap: float = 60.0, jitter: float = 0.25) -> Backoff:
    """Return a backoff of the exponential wait and up to `jitter` of it more: never sooner, as quotas want it.

    Args:
        base: seconds of the first wait.
        factor: growth from one wait to the next.
        cap: longest wait, in seconds.
        jitter: share of the wait that may be added, from 0 to 1.
    """
    _check(base=base, factor=factor, cap=cap, jitter=jitter)
    return lambda attempt, rng, last: _grown(attempt, base, factor, cap) * (1 + rng.uniform(0.0, jitter))


def _grown(attempt: int, base: float, factor: float, cap: float) -> float:
    try:
        return min(cap, base * factor ** (attempt - 1))
    except OverflowError:
        return cap


def _check(*, base: float, factor: float = 1.0, cap: float = math.inf, jitter: float = 0.0) -> None:
    check = Arguments("backoff")
    check.number("base", base, minimum=0, unit="seconds")
    check.number("factor", factor, minimum=1)
    check.number("cap", cap, infinite=True, unit="seconds")
    check.number("jitter", jitter, minimum=0, maximum=1)
    check.done()
    if cap < base:
        raise ValueError(f"backoff: cap must be at least base={base!r}, got {cap!r}")
