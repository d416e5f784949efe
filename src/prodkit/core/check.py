"""Health checks: anything with a name and a ``check()``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

__all__ = ["Check", "CheckResult", "Status"]

Status: TypeAlias = Literal["up", "degraded", "down"]
"""``degraded`` still serves, with less: a cache in memory, a breaker open, a pool that is full."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Args:
        status: ``up``, ``degraded`` or ``down``.
        reason: one sentence for an operator; empty when there is nothing to say.
        details: numbers and names for the authenticated view, without secrets and without user data.
    """

    status: Status
    reason: str = ""
    details: Mapping[str, object] = field(default_factory=dict[str, object])


@runtime_checkable
class Check(Protocol):
    """A part that reports its health. Give it to :class:`prodkit.Health`."""

    @property
    def name(self) -> str:
        """The part's name in the report, unique in it."""
        ...

    async def check(self) -> CheckResult:
        """Return the result soon: the report bounds the wait and counts an exception as ``down``."""
        ...
