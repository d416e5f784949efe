"""Guard one call: breaker, retry, timeout, limits and fallback, alone or in a pipeline.

::

    await Pipeline(Retry(3), breaker, Timeout(5)).run(fn, *args)

    Pipeline.run -> composed callable, built once, outermost first
      Retry      -> attempt 1 … n; RetryState decides after a failure: wait, stop, deadline, budget
      breaker    -> Circuit (pure) admits the attempt and counts its Outcome (classify)
      Timeout    -> one timer: the sooner of 5 s and the Deadline (deadline_guard)
      fn         -> result, or the dependency's own error
"""

from __future__ import annotations

from prodkit.core.outcome import Classifier, Outcome
from prodkit.policies.adaptive import AdaptiveLimit
from prodkit.policies.backoff import (
    Backoff,
    constant,
    decorrelated,
    equal_jitter,
    exponential,
    full_jitter,
    upward,
)
from prodkit.policies.base import Policy
from prodkit.policies.breaker import CircuitBreaker
from prodkit.policies.budget import Prices, RetryBudget
from prodkit.policies.bulkhead import Bulkhead
from prodkit.policies.chaos import Chaos
from prodkit.policies.classify import outcome_of
from prodkit.policies.fallback import Fallback
from prodkit.policies.gate import RetryAfterGate
from prodkit.policies.hedge import Hedge
from prodkit.policies.idempotency import non_idempotent
from prodkit.policies.permit import Permit
from prodkit.policies.pipeline import CostlyOrderWarning, Pipeline
from prodkit.policies.policy_set import PolicySet
from prodkit.policies.registry import BreakerRegistry
from prodkit.policies.retry import Retry
from prodkit.policies.retry_after import retry_after_of
from prodkit.policies.retry_rules import Budget
from prodkit.policies.shared_state import SharedState
from prodkit.policies.snapshot import PolicySnapshot
from prodkit.policies.switch import off
from prodkit.policies.timeout import Timeout

__all__ = [
    "AdaptiveLimit",
    "Backoff",
    "BreakerRegistry",
    "Budget",
    "Bulkhead",
    "Chaos",
    "CircuitBreaker",
    "Classifier",
    "CostlyOrderWarning",
    "Fallback",
    "Hedge",
    "Outcome",
    "Permit",
    "Pipeline",
    "Policy",
    "PolicySet",
    "PolicySnapshot",
    "Prices",
    "Retry",
    "RetryAfterGate",
    "RetryBudget",
    "SharedState",
    "Timeout",
    "constant",
    "decorrelated",
    "equal_jitter",
    "exponential",
    "full_jitter",
    "non_idempotent",
    "off",
    "outcome_of",
    "retry_after_of",
    "upward",
]
