"""Research as values: a subject, the sources that are asked about it, and what each of them gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

__all__ = [
    "ENDED",
    "EXTERNAL",
    "PROFILE",
    "STEPS",
    "Finding",
    "Item",
    "Kind",
    "Research",
    "ResearchStatus",
    "SourceStatus",
    "Step",
]

Kind: TypeAlias = Literal["enrichment", "clone"]
SourceStatus: TypeAlias = Literal["waiting", "running", "done", "failed", "unset", "stopped"]
ResearchStatus: TypeAlias = Literal["queued", "running", "done", "partial", "failed", "stopped"]
EXTERNAL: Final = ("web", "videos", "photo")
PROFILE: Final = "profile"
STEPS: Final = (*EXTERNAL, PROFILE)
ENDED: Final = frozenset({"done", "partial", "failed", "stopped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One cited page, video or photo. `date` is its own, as the source gave it: an ISO day, or nothing."""

    title: str
    url: str
    date: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one source gave: a text and citations, or the reason why there is nothing."""

    text: str = ""
    items: tuple[Item, ...] = ()
    reason: str = ""
    unset: bool = False
    """The source has no key in this deployment; nothing was asked."""
    model: str = ""
    avatar_id: UUID | None = None
    fetched_at: str = ""
    """When the source answered; earlier than now for an answer that was kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One source of a research, as it stands."""

    position: int
    name: str
    status: SourceStatus = "waiting"
    text: str = ""
    items: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    reason: str = ""
    model: str = ""
    avatar_id: UUID | None = None
    fetched_at: datetime | None = None
    seconds: float | None = None

    @property
    def settled(self) -> bool:
        """True when it will not change by itself."""
        return self.status not in ("waiting", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class Research:
    """One research with its steps in order: the three sources, then the profile."""

    id: UUID
    kind: Kind
    persona_id: int | None
    expert_id: int | None
    subject: str
    context: str
    status: ResearchStatus
    created_at: datetime
    finished_at: datetime | None = None
    accepted_at: datetime | None = None
    last_seq: int = 0
    steps: tuple[Step, ...] = ()

    @property
    def finished(self) -> bool:
        """True when nothing more happens unless the user asks for it."""
        return self.status in ENDED

    @property
    def found(self) -> int:
        """The number of outside sources that gave something."""
        return sum(step.status == "done" for step in self.steps if step.name in EXTERNAL)

    @property
    def settled(self) -> int:
        """The number of steps that will not change by themselves."""
        return sum(step.settled for step in self.steps)

    def step(self, name: str) -> Step:
        """The step of one source."""
        return next(step for step in self.steps if step.name == name)
