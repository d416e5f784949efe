"""Two things that can become of a statement, besides done and refused."""

from __future__ import annotations

from prodkit.errors import CommitUnknownError, DatabaseError

__all__ = ["CommitUnknownError", "NotSentError"]


class NotSentError(DatabaseError):
    """The connection was found dead before the statement left: doing it again on another one is safe."""
