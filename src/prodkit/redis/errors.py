"""Classify the errors of redis-py: outage, refused command, or a mistake of the caller."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from prodkit.core.outcome import Outcome
from prodkit.policies.classify import outcome_of, redis_codes

__all__ = ["Fault", "classify", "describe"]

Fault: TypeAlias = Literal["outage", "refused", "bug"]
"""``outage``: no command can be served now; ``refused``: the server is up but does not take this command (out of
memory, no permission); ``bug``: the command itself is wrong, and the error belongs to its author."""

_REFUSED: Final = frozenset(("OOM", "MISCONF", "NOPERM", "NOREPLICAS"))
_LOGIN: Final = frozenset(("NOAUTH", "WRONGPASS"))


def classify(error: BaseException) -> Fault:
    """Return the kind of fault that `error` is.

    Failures are those of the classifier that breakers, budgets and limits use
    (:func:`prodkit.policies.classify.outcome_of`). Here they are divided into outages and refused commands, and a
    refused login counts as an outage: nothing works without it.

    Args:
        error: an exception raised by redis-py or by the socket below it.
    """
    from redis import exceptions

    if isinstance(error, OSError | EOFError | exceptions.ConnectionError):
        return "outage"
    if not isinstance(error, exceptions.RedisError | exceptions.RedisClusterException):
        return "bug"
    codes = frozenset(redis_codes(error))
    if codes & _REFUSED or isinstance(
        error, exceptions.OutOfMemoryError | exceptions.NoPermissionError | exceptions.AuthorizationError
    ):
        return "refused"
    return "outage" if codes & _LOGIN or outcome_of(error) is Outcome.FAILED else "bug"


def describe(error: BaseException) -> str:
    """Return one line about `error` for people; redis-py quotes hosts and replies, never a password.

    Args:
        error: the exception to describe.
    """
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
