"""Outcomes of a statement or a COMMIT beside done and refused."""

from __future__ import annotations

from prodkit.errors import CommitOutcome, CommitUnknownError, DatabaseError

__all__ = ["CommitOutcome", "CommitUnknownError", "NotSentError"]


class NotSentError(DatabaseError):
    """The connection was found dead before the statement was sent: sending it on another one is safe."""
