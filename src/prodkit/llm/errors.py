"""The client's errors that are two things at once: an LlmError, and what has happened to the call."""

from __future__ import annotations

from prodkit.errors import (
    CallTimeoutError,
    CircuitOpenError,
    DeadlineExceededError,
    LlmError,
    RateLimitedError,
)

__all__ = [
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
    """Every model of the chain is being spared: nothing was sent."""


class LlmRateLimitedError(LlmError, RateLimitedError):
    """Every model of the chain is cooling down or its rate is used up: nothing was sent."""
