"""Guard one call: breaker, retry, timeout and their kin, alone or in a pipeline."""

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
from prodkit.policies.classify import outcome_of
from prodkit.policies.fallback import Fallback
from prodkit.policies.gate import RetryAfterGate
from prodkit.policies.hedge import Hedge
from prodkit.policies.permit import Permit
from prodkit.policies.pipeline import CostlyOrderWarning, Pipeline
from prodkit.policies.registry import BreakerRegistry
from prodkit.policies.retry import Retry, non_idempotent
from prodkit.policies.retry_after import retry_after_of
from prodkit.policies.retry_state import Budget
from prodkit.policies.shared_state import SharedState
from prodkit.policies.timeout import Timeout

__all__ = [
    "AdaptiveLimit",
    "Backoff",
    "BreakerRegistry",
    "Budget",
    "Bulkhead",
    "CircuitBreaker",
    "Classifier",
    "CostlyOrderWarning",
    "Fallback",
    "Hedge",
    "Outcome",
    "Permit",
    "Pipeline",
    "Policy",
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
    "outcome_of",
    "retry_after_of",
    "upward",
]
