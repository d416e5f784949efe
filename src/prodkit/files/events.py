"""Events of the validator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prodkit.core.events import Event, Level, Metric, Metrics

__all__ = ["FileAccepted", "FileRejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAccepted(Event):
    """A file was accepted.

    Args:
        kind: the format, such as ``"jpeg"``.
        size: bytes of the upload.
        duration: seconds from the first read to the verdict.
        sanitised: the content was re-encoded.
        repairs: codes of what was removed or changed.
    """

    name = "files.accepted"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric(
        "files_accepted_seconds",
        "histogram",
        ("kind",),
        value="duration",
        unit="seconds",
        help="Time to validate an accepted file.",
    )
    kind: str
    size: int
    duration: float
    sanitised: bool
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRejected(Event):
    """A file was refused.

    Args:
        codes: the codes of all problems.
        detail: more than the client learns, without anything from the file itself.
        size: bytes of the upload; 0 when it was too large to read.
        duration: seconds from the first read to the verdict.
    """

    name = "files.rejected"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric(
        "files_rejected_seconds",
        "histogram",
        value="duration",
        unit="seconds",
        help="Time to validate a rejected file.",
    )
    codes: tuple[str, ...]
    detail: str
    size: int
    duration: float
