"""Settings, state and figures of policies as plain data: for the console, a log line or an endpoint of one's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prodkit.policies.adaptive import AdaptiveLimit
from prodkit.policies.base import Policy, name_of
from prodkit.policies.breaker import CircuitBreaker
from prodkit.policies.bulkhead import Bulkhead
from prodkit.policies.chaos import Chaos
from prodkit.policies.gate import RetryAfterGate
from prodkit.policies.hedge import Hedge
from prodkit.policies.policy_options import given_options, kinds_of
from prodkit.policies.retry import Retry

__all__ = ["PolicySnapshot", "snapshot"]


@dataclass(frozen=True, slots=True)
class PolicySnapshot:
    """One policy at one moment; everything in it can be written as JSON.

    Args:
        kind: its name in settings, such as ``breaker`` or ``total_timeout``; the class name for a class of your own.
        type: its class.
        name: of the dependency, where the policy has one.
        state: "closed", "open", "half_open", "isolated" or "disabled" of a breaker or a gate, "on" or "off" of chaos,
            "full" of a limit without a free slot; empty otherwise.
        settings: the options that were given; functions and other objects by their names.
        figures: numbers of now, such as ``failures``, ``inflight``, ``retry_after`` (seconds).
    """

    kind: str
    type: str
    name: str = ""
    state: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    figures: Mapping[str, float | None] = field(default_factory=dict[str, "float | None"])


def snapshot(policies: Sequence[Policy]) -> tuple[PolicySnapshot, ...]:
    """Return one snapshot for each of `policies`, in their order."""
    kinds = {id(policy): kind for kind, policy in kinds_of(policies).items()}
    return tuple(_of(policy, kinds.get(id(policy), type(policy).__name__)) for policy in policies)


def _of(policy: Policy, kind: str) -> PolicySnapshot:
    given = given_options(policy)
    settings = {name: _plain(value) for name, value in given.items() if name not in ("runtime", "name")}
    state, figures = _now(policy)
    return PolicySnapshot(
        kind=kind,
        type=type(policy).__name__,
        name=str(getattr(policy, "name", "")),
        state=state,
        settings=settings,
        figures={name: _finite(value) for name, value in figures.items()},
    )


def _now(policy: Policy) -> tuple[str, dict[str, float | None]]:
    """Return the state and the figures of `policy` now."""
    if isinstance(policy, CircuitBreaker):
        counts = policy.statistics
        return counts.state, {
            "calls": counts.calls,
            "failures": counts.failures,
            "slow": counts.slow,
            "rejected": counts.rejected,
            "openings": counts.openings,
            "retry_after": policy.retry_after,
        }
    if isinstance(policy, RetryAfterGate):
        closed = max(0.0, policy.not_before - policy.runtime.clock.monotonic())
        return "closed" if closed else "open", {"retry_after": closed or None, "waiting": policy.waiting}
    if isinstance(policy, AdaptiveLimit | Bulkhead):
        figures: dict[str, float | None] = {
            "limit": policy.limit,
            "inflight": policy.inflight,
            "waiting": policy.waiting,
        }
        if isinstance(policy, AdaptiveLimit):
            figures |= {"latency": policy.gradient.latency, "baseline": policy.gradient.baseline}
        return "full" if policy.inflight >= policy.limit else "", figures
    if isinstance(policy, Retry):
        balance = getattr(policy.budget, "balance", None)
        return "", {} if balance is None else {"budget": balance}
    if isinstance(policy, Hedge):
        return "", {"after": policy.delay()}
    if isinstance(policy, Chaos):
        enabled = policy.enabled() if callable(policy.enabled) else policy.enabled
        return "on" if enabled else "off", {"rate": policy.rate}
    return "", {}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return name_of(value) if callable(value) else type(value).__name__
