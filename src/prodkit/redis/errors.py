"""What an error of redis-py says about the server."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

__all__ = ["Fault", "classify", "told"]

Fault: TypeAlias = Literal["outage", "refused", "bug"]
"""``outage``: nobody can use Redis now; ``refused``: it lives, but not for this command (out of memory, no
permission); ``bug``: the command itself is wrong, and the error belongs to whoever wrote it."""

_OUTAGE_REPLIES: Final = (
    "LOADING",
    "BUSY ",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "READONLY",
    "NOAUTH",
    "WRONGPASS",
)
_REFUSED_REPLIES: Final = ("OOM ", "MISCONF", "NOPERM", "NOREPLICAS")


def classify(error: Exception) -> Fault:
    """Tells what kind of fault `error` is."""
    from redis import exceptions as its

    if isinstance(error, (its.OutOfMemoryError, its.NoPermissionError, its.AuthorizationError)):
        return "refused"
    if isinstance(
        error,
        (
            its.ConnectionError,
            its.TimeoutError,
            its.InvalidResponse,
            its.ReadOnlyError,
            its.MasterDownError,
            its.ClusterDownError,
            its.TryAgainError,
            OSError,
            EOFError,
        ),
    ):
        return "outage"
    if isinstance(error, its.ResponseError):
        text = str(error)
        if text.startswith(_OUTAGE_REPLIES):
            return "outage"
        if text.startswith(_REFUSED_REPLIES):
            return "refused"
    return "bug"


def told(error: BaseException) -> str:
    """One line about `error` for people; redis-py quotes hosts and replies, never a password."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
