"""The default classifier: the outcome of an error of the kit, of the OS, and of well-known libraries.

Errors of other libraries are recognised by the module and the name of their classes, so nothing is imported:
httpx, httpx2, requests, aiohttp, urllib, anthropic and openai by the HTTP status that they carry; asyncpg, psycopg
and SQLAlchemy by the SQLSTATE; redis by its class names and the codes in its replies. An unknown error is a failure,
so a dependency that is not in the tables is still guarded.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from prodkit.core.outcome import Classifier, Outcome
from prodkit.errors import (
    CallTimeoutError,
    DeadlineExceededError,
    InvalidError,
    MissingExtraError,
    ProdkitError,
    RejectedError,
    UnavailableError,
)
from prodkit.policies.base import MisuseError
from prodkit.policies.deadline_guard import ended_by_timer
from prodkit.policies.retry_after import retry_after_of

__all__ = [
    "classifier",
    "is_lost_connection",
    "is_overload",
    "outcome_of",
    "outcome_of_status",
    "redis_codes",
]

_SOME_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)
_FAILED, _THROTTLED, _NEUTRAL = Outcome.FAILED, Outcome.THROTTLED, Outcome.NEUTRAL

_HTTP: Final = frozenset(
    {
        "httpx",
        "httpx2",
        "httpcore",
        "httpcore2",
        "requests",
        "urllib3",
        "urllib",
        "aiohttp",
        "anthropic",
        "openai",
    }
)
_SQL: Final = frozenset({"asyncpg", "psycopg", "psycopg2", "sqlalchemy"})

_LOCAL: Final[Mapping[str, frozenset[str]]] = {
    # Mistakes and limits on this side: nothing reached the other one, or it is not to blame.
    "httpx": frozenset(
        {
            "PoolTimeout",
            "UnsupportedProtocol",
            "LocalProtocolError",
            "InvalidURL",
            "CookieConflict",
            "StreamError",
        }
    ),
    "requests": frozenset(
        {"InvalidURL", "MissingSchema", "InvalidSchema", "InvalidHeader", "StreamConsumedError"}
    ),
    "urllib3": frozenset(
        {"EmptyPoolError", "ClosedPoolError", "LocationValueError", "BodyNotHttplibCompatible"}
    ),
    "aiohttp": frozenset({"InvalidURL", "NonHttpUrlClientError"}),
    "redis": frozenset(
        {
            "AuthenticationError",
            "DataError",
            "LockError",
            "MaxConnectionsError",
            "PubSubError",
            "ResponseError",
            "WatchError",
        }
    ),
    "asyncpg": frozenset({"InterfaceError", "OutdatedSchemaCacheError"}),
    "psycopg": frozenset({"InterfaceError", "ProgrammingError", "DataError", "IntegrityError"}),
}
_ILL: Final[Mapping[str, frozenset[str]]] = {
    # Subclasses of the names above which do speak of the server.
    "redis": frozenset(
        {
            "BusyLoadingError",
            "ClusterDownError",
            "MasterDownError",
            "OutOfMemoryError",
            "ReadOnlyError",
            "TryAgainError",
        }
    )
}
_REDIS_CODE: Final = re.compile(r"(?:^|: -?)([A-Z]{3,})(?= )")
_REDIS_ILL: Final = frozenset(
    {
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
    }
)
"""Codes in replies of a server that cannot work: redis-py has no class for some, nor for any inside a script."""
_SAME_AS: Final[Mapping[str, str]] = {
    "httpx2": "httpx",
    "httpcore": "httpx",
    "httpcore2": "httpx",
    "psycopg2": "psycopg",
}

_OVERLOADED: Final = frozenset({"overloaded_error", "api_error", "timeout_error"})
"""Types of error objects that arrive inside a stream, whose HTTP status is 200."""

_FULL: Final = (503, 529)

_SQL_ILL: Final = ("08", "53", "57P", "58", "F0", "XX", "25006")
"""SQLSTATE prefixes of a server that cannot work: connection, resources, shutdown, I/O, configuration, internal
errors, and a primary that became read-only. Others (constraints, syntax, rights, deadlocks) say nothing of it."""

_SQL_LOST: Final = ("08", "57P01", "57P02", "57P03", "57P05")
"""SQLSTATE prefixes of a connection that is gone, or that the server will not serve."""

_SQL_LOSSES: Final[Mapping[str, frozenset[str]]] = {
    # Without a SQLSTATE: the driver found the connection out of step, or its end.
    "asyncpg": frozenset({"InternalClientError"}),
    "psycopg": frozenset({"OperationalError"}),
}

_FILES: Final = frozenset(
    {
        errno.ENOENT,
        errno.EEXIST,
        errno.EACCES,
        errno.EPERM,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EINVAL,
        errno.ENAMETOOLONG,
    }
)
"""OS errors about a path or an argument, not about a device or a network."""


def outcome_of(error: BaseException) -> Outcome:
    """Return the outcome of a call that raised `error`.

    * An ``error.outcome`` that is an :class:`~prodkit.core.outcome.Outcome` decides.
    * A cancellation by a prodkit timer is `failed`, any other is `cancelled`.
    * Refusals by a policy, refused input and misuse are `neutral`; so is a deadline that had passed before the call.
    * HTTP statuses: 429, and 503 with ``Retry-After``, are `throttled`; 408, 425 and 5xx `failed`; the rest `neutral`.
    * An error without a status that says when to come back is `throttled`.
    * An outage of the database or of Redis is `failed`, a refusal by them (rights, a wrong password) `neutral`.
    * Of a group the worst leaf counts: failed, throttled, neutral, cancelled.
    * Everything else is `failed`.
    """
    own = getattr(error, "outcome", None)
    if isinstance(own, Outcome):
        return own
    if not isinstance(error, Exception):
        return _of_base(error)
    if isinstance(error, (RejectedError, InvalidError, MissingExtraError, MisuseError)):
        return _NEUTRAL
    if isinstance(error, CallTimeoutError):
        unsent = isinstance(error, DeadlineExceededError) and error.timeout == 0.0
        return _NEUTRAL if unsent else _FAILED
    if isinstance(error, ExceptionGroup):
        return _worst(error)
    library = type(error).__module__.partition(".")[0]
    if isinstance(error, ProdkitError):
        return _of_unavailable(error)
    if library in _SQL:
        return _of_sql(error)
    status = _status(error, library)
    if status is not None:
        return outcome_of_status(status, hinted=_hinted(error))
    if (verdict := _of_library(error, library)) is not None:
        return verdict
    if _hinted(error):
        return _THROTTLED
    if isinstance(error, OSError) and not isinstance(error, (ConnectionError, TimeoutError)):
        return _NEUTRAL if error.errno in _FILES else _FAILED
    return _FAILED


def outcome_of_status(status: int, *, hinted: bool = False) -> Outcome:
    """Return the outcome that an HTTP status means.

    Args:
        status: the status code.
        hinted: the response carries ``Retry-After``, which makes a 503 `throttled`.
    """
    if status == 429 or (status == 503 and hinted):
        return _THROTTLED
    if status >= 500 or status in (408, 425):
        return _FAILED
    return _NEUTRAL if status >= 400 else Outcome.OK


def is_lost_connection(error: BaseException) -> bool:
    """Return True if `error` says that a connection to a database is gone, not that a statement is bad.

    Args:
        error: of asyncpg, psycopg, SQLAlchemy or the OS.
    """
    library = type(error).__module__.partition(".")[0]
    if library not in _SQL:
        path = isinstance(error, OSError) and error.errno in _FILES
        return isinstance(error, OSError) and not isinstance(error, TimeoutError) and not path
    inner = getattr(error, "orig", None)  # SQLAlchemy wraps the driver's error
    if isinstance(inner, BaseException):
        return is_lost_connection(inner)
    state = _sqlstate(error)
    if state is not None:
        return state.startswith(_SQL_LOST)
    library = _SAME_AS.get(library, library)
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & _SQL_LOSSES.get(library, frozenset())) and not names & _LOCAL.get(
        library, frozenset()
    )


def is_overload(error: BaseException, classify: Classifier = outcome_of) -> bool:
    """Return True if `error` means too much at once: a failure by time-out, or a 503 or 529 that names no time.

    Args:
        error: of the call.
        classify: decides the outcome; what is no failure is no overload either.
    """
    if isinstance(error, BaseExceptionGroup):
        return any(is_overload(each, classify) for each in error.exceptions)
    if classify(error) is not _FAILED:
        return False
    if isinstance(error, TimeoutError) or any("Timeout" in kind.__name__ for kind in type(error).__mro__):
        return True
    if isinstance(error, asyncio.CancelledError):
        return True  # by a prodkit timer, or it would be no failure
    found = (error, getattr(error, "response", None))
    return any(getattr(each, name, None) in _FULL for each in found for name in ("status", "status_code"))


def classifier(own: Classifier | None) -> Classifier:
    """Return `own` with the defaults behind it: what it answers with None, :func:`outcome_of` decides."""
    if own is None:
        return outcome_of

    def classify(error: BaseException, /) -> Outcome:
        verdict = own(error)
        return outcome_of(error) if verdict is None else Outcome(verdict)

    return classify


def _hinted(error: BaseException) -> bool:
    """Return True if `error` says when to come back."""
    return retry_after_of(error, _SOME_TIME) is not None


def _of_base(error: BaseException) -> Outcome:
    if isinstance(error, BaseExceptionGroup):
        return _worst(error)
    if isinstance(error, asyncio.CancelledError) and ended_by_timer(error):
        return _FAILED
    return Outcome.CANCELLED


def _worst(group: BaseExceptionGroup[Any]) -> Outcome:
    found = {outcome_of(each) for each in group.exceptions}
    return next(each for each in (_FAILED, _THROTTLED, _NEUTRAL, Outcome.CANCELLED) if each in found)


def _status(error: Exception, library: str) -> int | None:
    """Return the HTTP status that `error` carries, as the libraries spell it."""
    for value in (
        getattr(error, "status_code", None),  # anthropic, openai, starlette
        getattr(getattr(error, "response", None), "status_code", None),  # httpx, requests
        getattr(error, "status", None) if library in _HTTP else None,  # aiohttp, urllib
    ):
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    return None


def _of_library(error: Exception, library: str) -> Outcome | None:
    names = {kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] == library}
    if library == "anthropic":
        body = getattr(error, "body", None)
        inner = body.get("error") if isinstance(body, Mapping) else None
        kind = inner.get("type") if isinstance(inner, Mapping) else None
        if isinstance(kind, str):
            return _THROTTLED if kind == "rate_limit_error" else _FAILED if kind in _OVERLOADED else _NEUTRAL
        cause = error.__cause__  # the SDK calls everything that goes wrong while sending a connection error
        if "APIConnectionError" in names and isinstance(cause, Exception):
            return _of_library(cause, type(cause).__module__.partition(".")[0])
        return None
    if names & _ILL.get(library, frozenset()) or (
        library == "redis" and not _REDIS_ILL.isdisjoint(redis_codes(error))
    ):
        return _FAILED
    return _NEUTRAL if names & _LOCAL.get(_SAME_AS.get(library, library), frozenset()) else None


def redis_codes(error: BaseException) -> list[str]:
    """Return the codes in the reply of a Redis server, such as ``OOM``; also those of an error inside a script.

    Redis 7 passes the code on: "OOM command not allowed …". Redis 6 wraps it: "Error running script (call to f_8d1…):
    @user_script:37: @user_script: 37: -OOM command not allowed …". MULTI wraps it as well: "Transaction discarded
    because of: OOM command not allowed …".

    Args:
        error: an exception of redis-py.
    """
    return _REDIS_CODE.findall(str(error))


def _of_unavailable(error: ProdkitError) -> Outcome:
    """Return the outcome of the kit's own error about a dependency; the server's error behind it decides, if any."""
    cause = error.__cause__
    if isinstance(error, UnavailableError) and isinstance(cause, Exception):
        library = type(cause).__module__.partition(".")[0]
        if library == "redis" or (library in _SQL and isinstance(getattr(cause, "sqlstate", None), str)):
            return outcome_of(cause)
    return _FAILED


def _of_sql(error: Exception) -> Outcome:
    inner = getattr(error, "orig", None)  # SQLAlchemy wraps the driver's error
    if isinstance(inner, Exception):
        return outcome_of(inner)
    state = _sqlstate(error)
    if state is not None:
        # 57014 is a statement timeout or a cancel request: the statement was too slow for its limit.
        return _FAILED if state.startswith(_SQL_ILL) or state == "57014" else _NEUTRAL
    verdict = _of_library(error, type(error).__module__.partition(".")[0])
    return _FAILED if verdict is None else verdict


def _sqlstate(error: BaseException) -> str | None:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state if isinstance(state, str) else None
