"""The time that a statement has, and the messages that set it at the server."""

from __future__ import annotations

import re
from math import inf, isfinite
from typing import Any, Final, Literal, TypeAlias

from prodkit.core.deadline import Deadline
from prodkit.errors import CallTimeoutError, DeadlineExceededError

__all__ = [
    "Owner",
    "ends_transaction",
    "may_follow",
    "milliseconds",
    "owner_after",
    "seconds",
    "setting",
    "time_left",
    "timed_out",
    "unsynced",
]

Owner: TypeAlias = Literal["", "local", "transaction", "session"]
"""The party that set the server's limit: ``""`` is the kit, else a caller by SQL, and how long it lasts."""

_ENDS: Final = re.compile(r"\s*(?:rollback|abort|commit|end)\b", re.IGNORECASE)
_CHANGES: Final = re.compile(r"(?:\A|;)\s*(rollback|abort|commit|end|reset|discard|call|do)\b", re.IGNORECASE)
_SETS: Final = re.compile(
    r"\b(?:re)?set\b.*\bstatement_timeout\b|\bset_config\s*\(\s*'statement_timeout'",
    re.IGNORECASE | re.DOTALL,
)
_DEFAULT: Final = re.compile(r"\breset\b|\bdefault\b", re.IGNORECASE)
_LOCAL: Final = re.compile(r"\blocal\b|\btrue\b", re.IGNORECASE)
# Statements that may follow another one in a transaction; VACUUM, CREATE DATABASE and others may not.
_MAY_FOLLOW: Final = re.compile(
    r"[\s(]*(?:select|insert|update|delete|with|values|merge|table)\b", re.IGNORECASE
)


def time_left(timeout: Any, command_timeout: float | None) -> float | None:
    """Return the seconds that a statement may take: the sooner of its own limit and the caller's Deadline.

    Args:
        timeout: the statement's own limit in seconds; None takes `command_timeout`.
        command_timeout: the connection's; None is no limit.

    Raises:
        ValueError: `timeout` is no finite number.
        CallTimeoutError: `timeout` leaves no time.
        DeadlineExceededError: the Deadline has passed.
    """
    own: float | None
    if timeout is None:
        own = command_timeout
    elif isinstance(timeout, bool) or not isinstance(timeout, int | float) or not isfinite(timeout):
        raise ValueError(f"invalid timeout value: expected a number of seconds, got {timeout!r}")
    elif timeout <= 0:
        raise CallTimeoutError(
            f"a limit of {timeout} s leaves no time; the statement was not sent", timeout=0.0
        )
    else:
        own = timeout
    if Deadline.instant() == inf:
        return own
    left = Deadline.sooner(own)
    if left == 0.0:
        raise DeadlineExceededError("the deadline has passed; the statement was not sent")
    return left


def timed_out(limit: float | None) -> CallTimeoutError | DeadlineExceededError:
    """Return the error of a statement that was cut short after `limit` seconds."""
    left = Deadline.sooner(None)
    if left is not None and left < 0.05:
        return DeadlineExceededError(
            "the deadline passed while a statement ran; it was cancelled", timeout=limit
        )
    return CallTimeoutError(f"a statement ran for {limit} s and was cancelled", timeout=limit)


def may_follow(query: str) -> bool:
    """Return True when `query` may be sent behind another statement, in one transaction with it."""
    return _MAY_FOLLOW.match(query) is not None


def ends_transaction(query: str) -> bool:
    """Return True when `query` begins with COMMIT or ROLLBACK, which may come behind a failed statement."""
    return _ENDS.match(query) is not None


def owner_after(owner: Owner, query: str, *, inside: bool) -> tuple[Owner, bool]:
    """Return whose limit is in force behind a hand-written query, and True when the record of ours is void.

    Args:
        owner: before the query.
        query: one statement, or several.
        inside: a transaction is open behind it.
    """
    if _sets_limit(query):
        if _DEFAULT.search(query):
            return "", True
        if _LOCAL.search(query):
            return ("local" if inside else owner), not inside
        return ("transaction" if inside else "session"), False
    void = False
    for found in _CHANGES.finditer(query):
        word = found.group(1).lower()
        if word in ("reset", "discard"):
            owner, void = "", True
        elif owner == "transaction" and word in ("commit", "end"):
            owner = "session"
        elif owner != "session":
            void = True
            owner = owner if word in ("call", "do") else ""
    return owner, void


def _sets_limit(query: str) -> bool:
    """Return True when `query` sets or resets the limit, in time linear in its length: it may be a long script."""
    end = query.lower().rfind("statement_timeout")
    return end >= 0 and _SETS.search(query[: end + len("statement_timeout'")]) is not None


def seconds(limit: float | None) -> float:
    """Return `limit` as a number: None, which is no limit, is infinity."""
    return inf if limit is None else limit


def milliseconds(limit: float | None) -> int:
    """Return `limit` for ``statement_timeout``, where 0 means none."""
    return 0 if limit is None else max(1, min(int(limit * 1000), 2**31 - 1))


def setting(limit: float | None) -> str:
    """Return the statement that makes `limit` seconds the server's own limit."""
    return f"SET statement_timeout = {milliseconds(limit)}"


def unsynced(statement: str) -> bytes:
    """Return Parse, Bind and Execute of `statement`, without the Sync that ends an implicit transaction."""
    parse = b"\0" + statement.encode() + b"\0\0\0"
    return (
        b"P"
        + (len(parse) + 4).to_bytes(4)
        + parse
        + b"B\0\0\0\x0c\0\0\0\0\0\0\0\0"  # unnamed portal and statement; no formats, arguments, result formats
        + b"E\0\0\0\x09\0\0\0\0\0"  # unnamed portal, all rows
    )
