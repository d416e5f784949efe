"""The parts of a check: the tools of its validator, the claims of its client, the stages it reports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from prodkit.core.runtime import Runtime
from prodkit.errors import FileProblem
from prodkit.files.decoding.sandbox import Sandbox
from prodkit.files.messages import Language
from prodkit.files.policies import SinglePolicy

__all__ = ["Claims", "Identify", "OnProgress", "Progress", "Quarantine", "Scanner", "Stage", "Tools"]

Scanner: TypeAlias = Callable[[bytes], Awaitable[str]]
"""Malware scanner: returns the name of the malware, or "". When it raises, nothing is accepted."""

Quarantine: TypeAlias = Callable[[bytes, str, tuple[FileProblem, ...]], Awaitable[None]]
"""Receives a refused file: its bytes, their sha256, the problems."""

Identify: TypeAlias = Callable[[bytes], str]
"""Names the type of a file, for the event of a refusal."""

Stage: TypeAlias = Literal["reading", "checking", "decoding", "scanning"]


@dataclass(frozen=True, slots=True)
class Progress:
    """The stage of a check.

    Args:
        stage: ``reading``, then ``checking`` (the structure), ``decoding`` (pictures only), ``scanning`` (with a
            scanner). A stage includes the wait for its slot.
        received: bytes read so far.
    """

    stage: Stage
    received: int


OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The parts of a validator that each inspection uses."""

    policies: tuple[SinglePolicy, ...]
    rewrite: bool
    rebuild: bool
    sandbox: Sandbox
    scanner: Scanner | None
    quarantine: Quarantine | None
    identify: Identify | None
    runtime: Runtime

    @property
    def max_bytes(self) -> int:
        """The largest size that any policy accepts."""
        return max(each.max_bytes for each in self.policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """One call of ``Validator.check``: the client's claims, and the caller's wishes."""

    filename: str | None
    declared_type: str | None
    sanitise: bool
    language: Language
    key: str
    on_progress: OnProgress | None
