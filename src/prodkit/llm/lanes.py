"""What is known about each model of the chain, shared by all calls of a client: breaker, cool-down, rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from prodkit.core.runtime import Runtime
from prodkit.errors import CircuitOpenError
from prodkit.llm.classify import Failure
from prodkit.llm.cost import estimate_input
from prodkit.llm.limits import Need, RateLimits
from prodkit.llm.model import Model
from prodkit.llm.plan import Hold
from prodkit.policies.breaker import CircuitBreaker
from prodkit.policies.gate import RetryAfterGate
from prodkit.policies.permit import Permit
from prodkit.policies.shared_state import SharedState

__all__ = ["Lane"]


class Lane:
    """One model: its circuit breaker, the instant before which it must not be asked, its rate limits."""

    __slots__ = ("breaker", "gate", "limits", "model")

    def __init__(
        self, model: Model, *, failures: int, open_for: float, shared: SharedState | None, runtime: Runtime
    ) -> None:
        self.model = model
        # Only its instant is used: the pace is the business of the limits learned from the headers.
        self.gate = RetryAfterGate(f"llm.{model.name}", margin=0.0, runtime=runtime)
        self.limits = RateLimits()
        self.breaker = CircuitBreaker(
            f"llm.{model.name}",
            failures=failures,
            failure_rate=None,
            open_for=open_for,
            shared=shared,
            runtime=runtime,
        )

    def need(self, params: Mapping[str, Any]) -> Need:
        """What a request takes of the rate limits: requests, input tokens, output tokens."""
        return 1.0, float(estimate_input(params)), float(params.get("max_tokens", 0))

    def hold(self, need: Need, now: float) -> Hold:
        """How long this model must not be asked."""
        if self.breaker.state in ("open", "isolated"):
            return self.refusal()
        cool, rate = self.gate.not_before - now, self.limits.wait(need, now)
        if cool > 0 and cool >= rate:
            return Hold(cool, "retry_after")
        return Hold(rate, "rate") if rate > 0 else Hold()

    async def admit(self) -> Permit:
        """A permit for one request, or CircuitOpenError."""
        return await self.breaker.admit()

    def refusal(self) -> Hold:
        """What the open breaker says."""
        try:
            self.breaker.acquire().cancel()
        except CircuitOpenError as error:
            return Hold(math.inf if error.retry_after is None else error.retry_after, "open")
        return Hold()

    def refused(self, failure: Failure, now: float) -> None:
        """A request has failed: the server may have said how long to wait."""
        if failure.retry_after:
            self.gate.close(failure.retry_after)
        if failure.code == "rate_limited":
            self.limits.refused(now)
