"""Outcome: the five ways in which a call can end, as policies and reports count them.

=========== ================================================================== =======================================
outcome     meaning                                                            effect on policies
=========== ================================================================== =======================================
`ok`        the dependency answered                                            counts as a success
`failed`    the dependency is ill: no answer, a broken one, a time-out         counts against breaker, budget and limit
`throttled` the dependency is well and asks the caller to wait (HTTP 429)      closes the gate; never a failure
`cancelled` the caller went away                                               none: the slot is given back
`neutral`   says nothing about the dependency: a business error, a refusal     none: the slot is given back
=========== ================================================================== =======================================
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

__all__ = ["Classifier", "Outcome"]


class Outcome(StrEnum):
    """The end of one call; a string, so that events and reports can carry it as it is."""

    OK = "ok"
    FAILED = "failed"
    THROTTLED = "throttled"
    CANCELLED = "cancelled"
    NEUTRAL = "neutral"


class Classifier(Protocol):
    """Decides the outcome of a call that raised.

    An error class may decide for itself by an attribute ``outcome`` that holds an :class:`Outcome`.
    """

    def __call__(self, error: BaseException, /) -> Outcome | None:
        """Return the outcome of `error`, or None to leave the decision to the defaults."""
        ...
