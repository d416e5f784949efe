"""The state of each model of the chain, shared by all calls of a client: breaker, cool-down, rate limits."""

from __future__ import annotations

import math

from prodkit.core.runtime import Runtime
from prodkit.errors import CircuitOpenError
from prodkit.llm.failures import Failure
from prodkit.llm.fallback_chain import Hold
from prodkit.llm.options import Model
from prodkit.llm.provider import Provider
from prodkit.llm.rate_limits import Need, RateLimits
from prodkit.policies.breaker import CircuitBreaker
from prodkit.policies.gate import RetryAfterGate
from prodkit.policies.shared_state import SharedState

__all__ = ["ModelState"]

_FREE = Hold()


class ModelState:
    """One model: its circuit breaker, the instant before which it must not be asked, its rate limits."""

    __slots__ = ("breaker", "cool_until", "gate", "label", "limits", "model", "provider")

    def __init__(
        self, model: Model, *, failures: int, open_for: float, shared: SharedState | None, runtime: Runtime
    ) -> None:
        self.model: Model = model
        self.label: str = model.label
        self.provider: Provider | None = model.provider
        self.cool_until: float = -math.inf  # the gate's instant
        # Only its instant and its event are used: the rate comes from the limits learned from the headers.
        self.gate: RetryAfterGate = RetryAfterGate(f"llm.{model.label}", margin=0.0, runtime=runtime)
        self.limits: RateLimits = RateLimits()
        self.breaker: CircuitBreaker = CircuitBreaker(
            f"llm.{model.label}",
            failures=failures,
            failure_rate=None,
            open_for=open_for,
            shared=shared,
            runtime=runtime,
        )

    def hold(self, need: Need, now: float) -> Hold:
        """Return how long this model must not be asked, and why."""
        breaker = self.breaker
        if breaker.circuit.guarding and breaker.state in ("open", "isolated"):
            return self.refusal()
        cool = self.cool_until - now
        rate = self.limits.wait(need, now) if self.limits.known else 0.0
        if cool > 0 and cool >= rate:
            return Hold(cool, "retry_after")
        return Hold(rate, "rate") if rate > 0 else _FREE

    def refusal(self) -> Hold:
        """Return the hold of the open breaker."""
        try:
            self.breaker.acquire().cancel()
        except CircuitOpenError as error:
            return Hold(math.inf if error.retry_after is None else error.retry_after, "open")
        return _FREE

    def refused(self, failure: Failure, now: float) -> None:
        """Take in a failed request: the server may have asked to wait."""
        if failure.retry_after:
            self.gate.close(failure.retry_after)
            self.cool_until = self.gate.not_before
        if failure.code == "rate_limited":
            self.limits.refused(now)
