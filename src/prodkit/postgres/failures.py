"""Two things that can become of a statement, besides done and refused."""

from __future__ import annotations

from prodkit.errors import DatabaseError

__all__ = ["CommitUnknownError", "NotSentError"]


class CommitUnknownError(DatabaseError):
    """The connection was lost, or too slow, while COMMIT was under way: it may or may not have taken effect.

    Look for what the transaction should have written before doing it again.
    """


class NotSentError(DatabaseError):
    """The connection was found dead before the statement left: doing it again on another one is safe."""
