"""What /health is made of: anything with a name and a ``check()``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

__all__ = ["Check", "CheckResult", "Status"]

Status: TypeAlias = Literal["up", "degraded", "down"]
"""``degraded`` still serves, with less: a cache in memory, a breaker open, a pool that is full."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The verdict of one check.

    `reason` is one sentence for an operator; `details` are numbers and names for the authenticated view, without
    secrets and without user data.
    """

    status: Status
    reason: str = ""
    details: Mapping[str, object] = field(default_factory=dict[str, object])


@runtime_checkable
class Check(Protocol):
    """A part that can say how it is. Give it to :class:`prodkit.Health`."""

    @property
    def name(self) -> str:
        """How the part is called in the report, unique in it."""
        ...

    async def check(self) -> CheckResult:
        """Looks, and answers soon: the report bounds the wait and counts an exception as ``down``."""
        ...
