"""The events that the policies emit: sizes, durations and names, never arguments or values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from prodkit.core.events import Event, Level, Metric
from prodkit.policies.circuit import Change, State
from prodkit.policies.queueing import Refusal

__all__ = [
    "BreakerChanged",
    "BreakerClosed",
    "BreakerHalfOpened",
    "BreakerIsolated",
    "BreakerOpened",
    "BreakerRejected",
    "BulkheadRejected",
    "ChaosInjected",
    "FallbackUsed",
    "GateClosed",
    "GatePassed",
    "HedgeStarted",
    "HedgeWon",
    "LimitChanged",
    "PolicyChanged",
    "RetryGaveUp",
    "RetryScheduled",
    "change_event",
]

Measured: TypeAlias = Metric | tuple[Metric, ...] | None

_TRANSITIONS: Final = Metric(
    "breaker_transitions", labels=("breaker", "after"), help="Changes of a circuit breaker's state."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged(Event):
    """A breaker changed its state."""

    name: ClassVar[str] = "breaker.changed"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Measured] = _TRANSITIONS
    breaker: str
    before: State
    after: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOpened(BreakerChanged):
    """The breaker refuses calls for `hold` seconds."""

    name: ClassVar[str] = "breaker.opened"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Measured] = _TRANSITIONS
    hold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerHalfOpened(BreakerChanged):
    """The breaker admits probes."""

    name: ClassVar[str] = "breaker.half_opened"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Measured] = _TRANSITIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerClosed(BreakerChanged):
    """The breaker admits every call."""

    name: ClassVar[str] = "breaker.closed"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Measured] = _TRANSITIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerIsolated(BreakerChanged):
    """The breaker refuses every call until it is reset."""

    name: ClassVar[str] = "breaker.isolated"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Measured] = _TRANSITIONS


_KINDS = {"half_open": BreakerHalfOpened, "closed": BreakerClosed, "isolated": BreakerIsolated}


def change_event(breaker: str, change: Change) -> BreakerChanged:
    """Return the event for `change` of the breaker named `breaker`."""
    if change.hold is not None:
        return BreakerOpened(
            breaker=breaker, before=change.before, after=change.after, reason=change.reason, hold=change.hold
        )
    kind = _KINDS.get(change.after, BreakerChanged)
    return kind(breaker=breaker, before=change.before, after=change.after, reason=change.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRejected(Event):
    """A call was refused; in shadow mode (`shadow` is true) it would have been."""

    name: ClassVar[str] = "breaker.rejected"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Measured] = Metric(
        "breaker_rejections", labels=("breaker", "state"), help="Calls refused by a circuit breaker."
    )
    breaker: str
    state: State
    shadow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(Event):
    """Attempt `attempt` failed with an `error` of this class; the next one starts in `wait` seconds."""

    name: ClassVar[str] = "retry.scheduled"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Measured] = Metric("retries", labels=("call", "error"), help="Attempts after the first.")
    call: str
    attempt: int
    error: str
    wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryGaveUp(Event):
    """The error of attempt `attempt` went to the caller, because of `reason`."""

    name: ClassVar[str] = "retry.gave_up"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Measured] = Metric(
        "retries_exhausted", labels=("call", "reason"), help="Calls that failed after their last attempt."
    )
    call: str
    attempt: int
    error: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateClosed(Event):
    """The dependency asked for `seconds` of silence."""

    name: ClassVar[str] = "gate.closed"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Measured] = Metric(
        "gate_closures", labels=("gate",), help="Times that a dependency asked to wait."
    )
    gate: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePassed(Event):
    """A call had waited at the gate for `waited` seconds."""

    name: ClassVar[str] = "gate.passed"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Measured] = Metric(
        "gate_wait_seconds",
        "histogram",
        ("gate",),
        value="waited",
        unit="seconds",
        help="Time that a call waited at the gate.",
    )
    gate: str
    waited: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeStarted(Event):
    """A further try was started because those before it had not answered."""

    name: ClassVar[str] = "hedge.started"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Measured] = Metric("hedges_started", help="Second requests that were sent.")
    after: float
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeWon(Event):
    """A further try answered first."""

    name: ClassVar[str] = "hedge.won"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Measured] = Metric("hedges_won", help="Second requests that answered first.")
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkheadRejected(Event):
    """A call got no place; it was not started."""

    name: ClassVar[str] = "bulkhead.rejected"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Measured] = Metric(
        "bulkhead_rejections", labels=("bulkhead", "reason"), help="Calls refused for want of a slot."
    )
    bulkhead: str
    reason: Refusal
    inflight: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChanged(Event):
    """The concurrency limit moved."""

    name: ClassVar[str] = "limit.changed"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Measured] = Metric(
        "adaptive_limit", "gauge", ("limiter",), value="limit", help="Current concurrency limit."
    )
    limiter: str
    limit: int
    latency: float
    baseline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackUsed(Event):
    """The fallback answered instead of the call."""

    name: ClassVar[str] = "fallback.used"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Measured] = Metric(
        "fallbacks", labels=("fallback", "error"), help="Calls answered by a fallback."
    )
    fallback: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosInjected(Event):
    """A call was disturbed on purpose; `kind` is an error class, ``result`` or ``latency``."""

    name: ClassVar[str] = "chaos.injected"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Measured] = Metric(
        "chaos_injections", labels=("chaos", "kind"), help="Calls disturbed on purpose."
    )
    chaos: str
    kind: str
    latency: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanged(Event):
    """A named pipeline was changed while running; `settings` names what changed, with the new values."""

    name: ClassVar[str] = "policy.changed"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Measured] = Metric(
        "policy_changes", labels=("policy",), help="Changes of a named pipeline's settings."
    )
    policy: str
    settings: str
