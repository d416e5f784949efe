"""The policies of one host, and the judges of its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from prodkit.core.runtime import Runtime
from prodkit.http.attempt import AttemptError, is_one_of
from prodkit.policies.adaptive import AdaptiveLimit
from prodkit.policies.breaker import CircuitBreaker
from prodkit.policies.budget import RetryBudget
from prodkit.policies.bulkhead import Bulkhead
from prodkit.policies.gate import RetryAfterGate

__all__ = ["HostPolicies", "default_policies", "says_ill", "says_overloaded"]

ILL: Final = frozenset({500, 502, 503, 504})
"""Statuses of a failing host. Being throttled (429, or 503 with ``Retry-After``) is no failure."""

OURS: Final = frozenset({"PoolTimeout", "UnsupportedProtocol", "LocalProtocolError"})
"""Failures on this side, which say nothing about the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPolicies:
    """The guard of the requests to one host; make your own to change the defaults.

    Statuses reach the policies as errors: give a breaker ``on=says_ill`` and an AdaptiveLimit
    ``overloaded=says_overloaded``.

    Args:
        breaker: counts attempts.
        gate: queues requests while the host asks to wait.
        budget: pays for further attempts.
        attempts: requests in all for one call, the first one included.
        attempt_timeout: seconds after which an attempt is cancelled; None leaves the client's own timeouts, which stay
            in force below it.
        limit: a Bulkhead or, for async clients, an AdaptiveLimit; None for none.
    """

    breaker: CircuitBreaker
    gate: RetryAfterGate
    budget: RetryBudget
    attempts: int = 3
    attempt_timeout: float | None = 30.0
    limit: Bulkhead | AdaptiveLimit | None = None


def default_policies(host: str, runtime: Runtime) -> HostPolicies:
    """Return the default guard: five failures in a row open the breaker for 30 s; retries have a budget of their own.

    Args:
        host: name and port, such as ``"api.example.org:443"``.
        runtime: clock, randomness and events.
    """
    return HostPolicies(
        breaker=CircuitBreaker(f"http {host}", open_for=30.0, open_jitter=0.2, on=says_ill, runtime=runtime),
        gate=RetryAfterGate(host, runtime=runtime),
        budget=RetryBudget(runtime=runtime),
    )


def says_ill(error: BaseException) -> bool:
    """Return True if `error` speaks against the host: a 5xx, no answer, no connection. For a breaker's ``on``."""
    if not isinstance(error, AttemptError):
        return isinstance(error, TimeoutError)
    if error.error is None:
        return error.response.status_code in ILL
    return not is_one_of(error.error, OURS)


def says_overloaded(error: BaseException) -> bool:
    """Return True if `error` means too much at once: a timeout or a 503. For an AdaptiveLimit's ``overloaded``."""
    response = error.response if isinstance(error, AttemptError) else None
    return isinstance(error, TimeoutError) or (response is not None and response.status_code == 503)
