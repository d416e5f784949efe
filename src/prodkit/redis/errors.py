"""Classify the errors of redis-py: outage, refused command, or a mistake of the caller."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

__all__ = ["Fault", "classify", "describe"]

Fault: TypeAlias = Literal["outage", "refused", "bug"]
"""``outage``: no command can be served now; ``refused``: the server is up but does not take this command (out of
memory, no permission); ``bug``: the command itself is wrong, and the error belongs to its author."""

_OUTAGE_REPLIES: Final = frozenset(
    ("LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "NOAUTH", "WRONGPASS")
)
_REFUSED_REPLIES: Final = frozenset(("OOM", "MISCONF", "NOPERM", "NOREPLICAS"))
# Redis 7 passes the code of an error inside a script on: "OOM command not allowed …". Redis 6 wraps it:
# "Error running script (call to f_8d1…): @user_script:37: @user_script: 37: -OOM command not allowed …".
# MULTI wraps it as well: "Transaction discarded because of: OOM command not allowed …".
_CODE: Final = re.compile(r"(?:^|: -?)([A-Z]{3,})(?= )")


def classify(error: BaseException) -> Fault:
    """Return the kind of fault that `error` is.

    Args:
        error: an exception raised by redis-py or by the socket below it.
    """
    from redis import exceptions

    if isinstance(
        error, exceptions.OutOfMemoryError | exceptions.NoPermissionError | exceptions.AuthorizationError
    ):
        return "refused"
    if isinstance(
        error,
        exceptions.ConnectionError
        | exceptions.TimeoutError
        | exceptions.InvalidResponse
        | exceptions.ReadOnlyError
        | exceptions.MasterDownError
        | exceptions.ClusterDownError
        | exceptions.ClusterError
        | exceptions.RedisClusterException
        | exceptions.TryAgainError
        | OSError
        | EOFError,
    ):
        return "outage"
    if isinstance(error, exceptions.ResponseError):
        for code in _CODE.findall(str(error)):
            if code in _OUTAGE_REPLIES:
                return "outage"
            if code in _REFUSED_REPLIES:
                return "refused"
    return "bug"


def describe(error: BaseException) -> str:
    """Return one line about `error` for people; redis-py quotes hosts and replies, never a password.

    Args:
        error: the exception to describe.
    """
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
