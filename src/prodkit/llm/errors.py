"""Errors with two bases: ``LlmError`` and the kind of outcome."""

from __future__ import annotations

from prodkit.errors import (
    CallTimeoutError,
    CircuitOpenError,
    DeadlineExceededError,
    LlmError,
    RateLimitedError,
)

__all__ = [
    "LlmCauseError",
    "LlmCircuitOpenError",
    "LlmDeadlineError",
    "LlmRateLimitedError",
    "LlmTimeoutError",
]


class LlmTimeoutError(LlmError, CallTimeoutError):
    """The call's own ``timeout`` passed."""


class LlmDeadlineError(LlmError, DeadlineExceededError):
    """The caller's Deadline passed."""


class LlmCircuitOpenError(LlmError, CircuitOpenError):
    """The circuit breaker of every model of the chain is open: nothing was sent."""


class LlmRateLimitedError(LlmError, RateLimitedError):
    """Every model of the chain is cooling down or its rate is used up: nothing was sent."""


class LlmCauseError(Exception):
    """The cause of an :class:`LlmError`: the class and message of the SDK's or transport's exception.

    The original exception holds the request, its headers and the key; this one holds its class name and its message
    with everything removed that stands in the request.

    Args:
        kind: the class name of the original exception.
        message: its message, cleaned.
    """

    def __init__(self, kind: str = "", message: str = "") -> None:
        super().__init__(kind, message)
        self.kind: str = kind
        self.message: str = message

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.message else self.kind
