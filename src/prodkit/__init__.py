"""prodkit: what a Python service needs between "it runs on my laptop" and "it runs in production".

This is the front door. Its names load on first use (PEP 562), so ``import prodkit`` costs next to nothing and no
third party is imported before the part that needs it. The modules beside it stand alone: ``from prodkit import
cache, env, files, llm, logs, postgres, progress, ratelimit``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.core.check import Check as Check, CheckResult as CheckResult
    from prodkit.core.clock import Clock as Clock, LoopClock as LoopClock
    from prodkit.core.deadline import Deadline as Deadline
    from prodkit.core.events import Event as Event, EventStream as EventStream
    from prodkit.core.lifespan import Resource as Resource, running as running
    from prodkit.core.outcome import Outcome as Outcome
    from prodkit.core.runtime import SYSTEM as SYSTEM, Runtime as Runtime
    from prodkit.errors import (
        BackupError as BackupError,
        BudgetExceededError as BudgetExceededError,
        BulkheadFullError as BulkheadFullError,
        CallTimeoutError as CallTimeoutError,
        CircuitOpenError as CircuitOpenError,
        CommitUnknownError as CommitUnknownError,
        CsrfError as CsrfError,
        DatabaseError as DatabaseError,
        DeadlineExceededError as DeadlineExceededError,
        DrainingError as DrainingError,
        EnvError as EnvError,
        InvalidError as InvalidError,
        InvalidFileError as InvalidFileError,
        InvalidSessionError as InvalidSessionError,
        LlmError as LlmError,
        LockHeldError as LockHeldError,
        LockLostError as LockLostError,
        MissingExtraError as MissingExtraError,
        PoolExhaustedError as PoolExhaustedError,
        ProdkitError as ProdkitError,
        RateLimitedError as RateLimitedError,
        RedisError as RedisError,
        RejectedError as RejectedError,
        UnavailableError as UnavailableError,
    )
    from prodkit.health.health import Health as Health
    from prodkit.policies.adaptive import AdaptiveLimit as AdaptiveLimit
    from prodkit.policies.breaker import CircuitBreaker as CircuitBreaker
    from prodkit.policies.budget import RetryBudget as RetryBudget
    from prodkit.policies.bulkhead import Bulkhead as Bulkhead
    from prodkit.policies.chaos import Chaos as Chaos
    from prodkit.policies.fallback import Fallback as Fallback
    from prodkit.policies.gate import RetryAfterGate as RetryAfterGate
    from prodkit.policies.hedge import Hedge as Hedge
    from prodkit.policies.pipeline import Pipeline as Pipeline
    from prodkit.policies.policy_set import PolicySet as PolicySet
    from prodkit.policies.retry import Retry as Retry
    from prodkit.policies.timeout import Timeout as Timeout
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "core.check": ("Check", "CheckResult"),
            "core.clock": ("Clock", "LoopClock"),
            "core.deadline": ("Deadline",),
            "core.events": ("Event", "EventStream"),
            "core.lifespan": ("Resource", "running"),
            "core.outcome": ("Outcome",),
            "core.runtime": ("Runtime", "SYSTEM"),
            "errors": (
                "BackupError",
                "BudgetExceededError",
                "BulkheadFullError",
                "CallTimeoutError",
                "CircuitOpenError",
                "CommitUnknownError",
                "CsrfError",
                "DatabaseError",
                "DeadlineExceededError",
                "DrainingError",
                "EnvError",
                "InvalidError",
                "InvalidFileError",
                "InvalidSessionError",
                "LlmError",
                "LockHeldError",
                "LockLostError",
                "MissingExtraError",
                "PoolExhaustedError",
                "ProdkitError",
                "RateLimitedError",
                "RedisError",
                "RejectedError",
                "UnavailableError",
            ),
            "health.health": ("Health",),
            "policies.adaptive": ("AdaptiveLimit",),
            "policies.breaker": ("CircuitBreaker",),
            "policies.budget": ("RetryBudget",),
            "policies.bulkhead": ("Bulkhead",),
            "policies.chaos": ("Chaos",),
            "policies.fallback": ("Fallback",),
            "policies.gate": ("RetryAfterGate",),
            "policies.hedge": ("Hedge",),
            "policies.pipeline": ("Pipeline",),
            "policies.policy_set": ("PolicySet",),
            "policies.retry": ("Retry",),
            "policies.timeout": ("Timeout",),
        },
    )

__version__ = "0.1.0"
