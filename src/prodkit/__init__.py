"""prodkit: what a Python service needs between "it runs on my laptop" and "it runs in production".

This is the front door. Its names load on first use (PEP 562), so ``import prodkit`` costs next to nothing and no
third party is imported before the part that needs it. The modules beside it stand alone: ``from prodkit import
cache, env, files, llm, logs, postgres, progress, ratelimit``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prodkit.core.check import Check as Check, CheckResult as CheckResult
    from prodkit.core.clock import Clock as Clock, LoopClock as LoopClock
    from prodkit.core.deadline import Deadline as Deadline
    from prodkit.core.events import Event as Event, EventStream as EventStream
    from prodkit.core.lifespan import Resource as Resource, running as running
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
    from prodkit.policies.fallback import Fallback as Fallback
    from prodkit.policies.gate import RetryAfterGate as RetryAfterGate
    from prodkit.policies.hedge import Hedge as Hedge
    from prodkit.policies.pipeline import Pipeline as Pipeline
    from prodkit.policies.retry import Retry as Retry
    from prodkit.policies.timeout import Timeout as Timeout

__version__ = "0.1.0"

_HOME = {
    **dict.fromkeys(("Check", "CheckResult"), "core.check"),
    **dict.fromkeys(("Clock", "LoopClock"), "core.clock"),
    "Deadline": "core.deadline",
    **dict.fromkeys(("Event", "EventStream"), "core.events"),
    **dict.fromkeys(("Resource", "running"), "core.lifespan"),
    **dict.fromkeys(("SYSTEM", "Runtime"), "core.runtime"),
    "Health": "health.health",
    "AdaptiveLimit": "policies.adaptive",
    "Bulkhead": "policies.bulkhead",
    "CircuitBreaker": "policies.breaker",
    "Fallback": "policies.fallback",
    "Hedge": "policies.hedge",
    "Pipeline": "policies.pipeline",
    "Retry": "policies.retry",
    "RetryAfterGate": "policies.gate",
    "RetryBudget": "policies.budget",
    "Timeout": "policies.timeout",
    **dict.fromkeys(
        (
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
            "MissingExtraError",
            "PoolExhaustedError",
            "ProdkitError",
            "RateLimitedError",
            "RedisError",
            "RejectedError",
            "UnavailableError",
        ),
        "errors",
    ),
}

_MODULES = frozenset(
    {
        "cache", "env", "errors", "files", "health", "http", "llm", "logs", "policies", "postgres", "progress",
        "ratelimit", "redis", "sessions", "testing", "web",
    }
)  # fmt: skip

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"prodkit.{name}")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'prodkit' has no attribute {name!r}")
    value = getattr(import_module(f"prodkit.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
