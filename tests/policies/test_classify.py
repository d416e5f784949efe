"""Outcomes of the kit's own errors, the OS's, and those of libraries that are recognised without an import."""

import asyncio
import errno
import socket
import subprocess
import sys
import urllib.error
from email.message import Message
from typing import Any

import anthropic
import asyncpg
import httpx
import httpx2
import pytest
import redis.exceptions

from prodkit import errors as kit
from prodkit.core.outcome import Outcome
from prodkit.policies import Timeout
from prodkit.policies.base import MisuseError
from prodkit.policies.classify import (
    classifier,
    is_lost_connection,
    is_overload,
    outcome_of,
    outcome_of_status,
)
from prodkit.policies.deadline_guard import _OUR_TIMER
from prodkit.testing import virtual_time
from prodkit.testing.trace import UpstreamError

OK, FAILED, THROTTLED, CANCELLED, NEUTRAL = Outcome
URL = "https://api.example.org"


def answered(library: Any, status: int, **headers: str) -> Exception:
    request = library.Request("GET", URL)
    response = library.Response(
        status, headers={k.replace("_", "-"): v for k, v in headers.items()}, request=request
    )
    return library.HTTPStatusError("no", request=request, response=response)  # type: ignore[no-any-return]


def claude(status: int, body: object = None, **headers: str) -> Exception:
    response = httpx2.Response(
        status,
        headers={k.replace("_", "-"): v for k, v in headers.items()},
        request=httpx2.Request("POST", URL),
    )
    return anthropic.APIStatusError("no", response=response, body=body)


def sent_by_claude(cause: Exception) -> Exception:
    error = anthropic.APIConnectionError(request=httpx2.Request("POST", URL))
    error.__cause__ = cause
    return error


def of_urllib(status: int, **headers: str) -> Exception:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return urllib.error.HTTPError(URL, status, "no", message, None)


class Custom(Exception):
    def __init__(self, **facts: Any) -> None:
        self.__dict__.update(facts)


def foreign(module: str, name: str, **facts: Any) -> Exception:
    """An error of a library that is not installed here."""
    error = type(name, (Custom,), {"__module__": module})(**facts)
    assert isinstance(error, Exception)
    return error


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


SQL = asyncpg.exceptions

CASES: list[tuple[BaseException, Outcome]] = [
    # the kit
    (kit.CircuitOpenError("open", retry_after=3), NEUTRAL),
    (kit.RateLimitedError("quota", retry_after=3), NEUTRAL),
    (kit.InvalidError("no"), NEUTRAL),
    (MisuseError("no"), NEUTRAL),
    (kit.CallTimeoutError("late", timeout=1), FAILED),
    (kit.DeadlineExceededError("late", timeout=1), FAILED),
    (kit.DeadlineExceededError("never began", timeout=0.0), NEUTRAL),
    (kit.LlmError("down", retry_after=3), FAILED),
    (kit.DatabaseError("down"), FAILED),
    # cancellations
    (asyncio.CancelledError(), CANCELLED),
    (asyncio.CancelledError(_OUR_TIMER), FAILED),
    (GeneratorExit(), CANCELLED),
    (KeyboardInterrupt(), CANCELLED),
    # the OS
    (ConnectionRefusedError(errno.ECONNREFUSED, "no"), FAILED),
    (TimeoutError(), FAILED),
    (socket.gaierror(-2, "unknown"), FAILED),
    (OSError(errno.EHOSTUNREACH, "no"), FAILED),
    (OSError(errno.EIO, "disk"), FAILED),
    (OSError("unknown"), FAILED),
    (FileNotFoundError(errno.ENOENT, "no"), NEUTRAL),
    (PermissionError(errno.EACCES, "no"), NEUTRAL),
    (ValueError(), FAILED),
    # httpx, httpx2
    *[(answered(library, status), outcome) for library in (httpx, httpx2) for status, outcome in (
        (404, NEUTRAL), (401, NEUTRAL), (408, FAILED), (429, THROTTLED), (500, FAILED), (503, FAILED), (529, FAILED),
    )],
    (answered(httpx, 503, retry_after="3"), THROTTLED),
    (answered(httpx, 500, retry_after="3"), FAILED),
    *[(kind("no"), FAILED) for library in (httpx, httpx2) for kind in (
        library.ConnectError, library.ReadTimeout, library.ConnectTimeout, library.ReadError,
        library.RemoteProtocolError,
    )],
    *[(kind("no"), NEUTRAL) for library in (httpx, httpx2) for kind in (
        library.PoolTimeout, library.UnsupportedProtocol, library.LocalProtocolError, library.InvalidURL,
    )],
    # anthropic
    (claude(429, retry_after="3"), THROTTLED),
    (claude(529), FAILED),
    (claude(500), FAILED),
    (claude(400), NEUTRAL),
    (claude(200, {"type": "error", "error": {"type": "overloaded_error"}}), FAILED),
    (claude(200, {"type": "error", "error": {"type": "rate_limit_error"}}), THROTTLED),
    (claude(200, {"type": "error", "error": {"type": "invalid_request_error"}}), NEUTRAL),
    (anthropic.APITimeoutError(request=httpx2.Request("POST", URL)), FAILED),
    (sent_by_claude(httpx2.ConnectError("no")), FAILED),
    (sent_by_claude(httpx2.PoolTimeout("no")), NEUTRAL),
    # asyncpg
    (SQL.ConnectionDoesNotExistError("lost"), FAILED),
    (SQL.TooManyConnectionsError("full"), FAILED),
    (SQL.AdminShutdownError("bye"), FAILED),
    (SQL.CannotConnectNowError("starting"), FAILED),
    (SQL.DiskFullError("full"), FAILED),
    (SQL.ReadOnlySQLTransactionError("standby"), FAILED),
    (SQL.QueryCanceledError("slow"), FAILED),
    (SQL.InternalServerError("oops"), FAILED),
    (SQL.UniqueViolationError("twice"), NEUTRAL),
    (SQL.SyntaxOrAccessError("no"), NEUTRAL),
    (SQL.SerializationError("again"), NEUTRAL),
    (SQL.DeadlockDetectedError("again"), NEUTRAL),
    (SQL.InvalidPasswordError("no"), NEUTRAL),
    (SQL.InterfaceError("misuse"), NEUTRAL),
    # redis
    *[(getattr(redis.exceptions, name)("no"), FAILED) for name in (
        "ConnectionError", "TimeoutError", "BusyLoadingError", "ReadOnlyError", "OutOfMemoryError", "ClusterDownError",
        "MasterDownError", "TryAgainError",
    )],
    *[(getattr(redis.exceptions, name)("no"), NEUTRAL) for name in (
        "AuthenticationError", "ResponseError", "DataError", "NoScriptError", "WatchError", "MaxConnectionsError",
    )],
    # libraries that are not installed
    (foreign("aiohttp.client_exceptions", "ClientResponseError", status=429), THROTTLED),
    (foreign("aiohttp.client_exceptions", "ClientResponseError", status=404), NEUTRAL),
    (foreign("mine", "Own", status=404), FAILED),
    (foreign("anthropic", "OtherError"), FAILED),
    (caused(foreign("anthropic", "OtherError"), httpx2.PoolTimeout("no")), FAILED),
    (foreign("sqlalchemy.exc", "DBAPIError", orig=SQL.UniqueViolationError("twice")), NEUTRAL),
    (foreign("sqlalchemy.exc", "DBAPIError", orig=SQL.AdminShutdownError("bye")), FAILED),
    (foreign("sqlalchemy.exc", "DBAPIError", orig=None), FAILED),
    (foreign("psycopg", "OperationalError", sqlstate=None), FAILED),
    (foreign("psycopg", "IntegrityError", sqlstate=None), NEUTRAL),
    (foreign("psycopg2", "OtherError", pgcode="23505"), NEUTRAL),
    (foreign("redis.exceptions", "ReadOnlyError", retry_after=3), FAILED),
    # by what they carry
    (Custom(status_code=425), FAILED),
    (Custom(status_code=599, retry_after=3), FAILED),
    (Custom(status_code=600, retry_after=3), THROTTLED),
    (Custom(status_code=400, retry_after=3), NEUTRAL),
    (Custom(status_code=399, retry_after=3), THROTTLED),
    (of_urllib(429), THROTTLED),
    (of_urllib(503, Retry_After="2"), THROTTLED),
    (of_urllib(502), FAILED),
    (of_urllib(404), NEUTRAL),
    (Custom(retry_after=3), THROTTLED),
    (Custom(retry_after="soon"), FAILED),
    (Custom(status_code=429), THROTTLED),
    (Custom(status_code=500, retry_after=3), FAILED),
    (Custom(outcome=Outcome.NEUTRAL, retry_after=3), NEUTRAL),
    (Custom(outcome="neutral"), FAILED),
    # groups
    (ExceptionGroup("g", [Custom(status_code=429), Custom(status_code=404)]), THROTTLED),
    (ExceptionGroup("g", [Custom(status_code=429), ConnectionResetError()]), FAILED),
    (BaseExceptionGroup("g", [KeyboardInterrupt(), ConnectionResetError()]), FAILED),
    (BaseExceptionGroup("g", [KeyboardInterrupt(), asyncio.CancelledError()]), CANCELLED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "outcome"), CASES, ids=lambda value: value if isinstance(value, str) else type(value).__name__
)
def test_the_defaults(error: BaseException, outcome: Outcome) -> None:
    assert outcome_of(error) is outcome


def test_statuses() -> None:
    assert outcome_of_status(204) is OK
    assert outcome_of_status(302) is OK
    assert outcome_of_status(503, hinted=True) is THROTTLED


def test_an_own_classifier_comes_first() -> None:
    classify = classifier(lambda error: THROTTLED if isinstance(error, KeyError) else None)
    assert classify(KeyError()) is THROTTLED
    assert classify(ValueError()) is FAILED
    assert classifier(None) is outcome_of


def test_nothing_is_imported() -> None:
    code = (
        "import sys; from prodkit.policies.classify import outcome_of; outcome_of(OSError());"
        "print([m for m in ('httpx', 'httpx2', 'asyncpg', 'redis', 'anthropic', 'tenacity') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_the_servers_error_behind_the_kits_own_decides() -> None:
    refused = asyncpg.InvalidPasswordError("no")
    assert outcome_of(_caused(kit.DatabaseError("x"), refused)) is Outcome.NEUTRAL
    assert outcome_of(_caused(kit.DatabaseError("x"), asyncpg.TooManyConnectionsError("x"))) is Outcome.FAILED
    assert outcome_of(_caused(kit.DatabaseError("x"), asyncpg.InterfaceError("closed"))) is Outcome.FAILED
    assert outcome_of(kit.DatabaseError("x", retry_after=3)) is Outcome.FAILED
    assert (
        outcome_of(_caused(kit.RedisError("x"), redis.exceptions.NoPermissionError("x"))) is Outcome.NEUTRAL
    )
    assert outcome_of(_caused(kit.RedisError("x"), redis.exceptions.ConnectionError("x"))) is Outcome.FAILED
    assert outcome_of(kit.RedisError("x", retry_after=1)) is Outcome.FAILED


def test_an_error_of_ones_own_with_a_time_is_throttled_wherever_its_class_stands() -> None:
    assert outcome_of(UpstreamError(429, retry_after=1)) is Outcome.THROTTLED
    assert outcome_of(UpstreamError(503)) is Outcome.FAILED


@pytest.mark.parametrize(
    ("error", "too_much"),
    [
        (TimeoutError(), True),
        (httpx.ReadTimeout("x"), True),
        (httpx.PoolTimeout("x"), False),
        (httpx.ConnectError("x"), False),
        (ConnectionRefusedError(), False),
        (kit.DeadlineExceededError("x", timeout=0.0), False),
        (kit.DeadlineExceededError("x", timeout=3.0), True),
        (UpstreamError(503), True),
        (UpstreamError(503, retry_after=2), False),
        (UpstreamError(529), True),
        (UpstreamError(530), False),
        (UpstreamError(500), False),
        (ExceptionGroup("g", [KeyError(), TimeoutError()]), True),
        (ExceptionGroup("g", [KeyError()]), False),
        (asyncio.CancelledError(), False),
    ],
)
def test_what_means_too_much_at_once(error: BaseException, too_much: bool) -> None:
    assert is_overload(error) is too_much


def test_what_a_classifier_calls_no_failure_is_no_overload() -> None:
    assert not is_overload(TimeoutError(), lambda error: Outcome.NEUTRAL)


@virtual_time
async def test_a_cancellation_by_our_own_timer_means_too_much_at_once() -> None:
    seen: list[asyncio.CancelledError] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as cancelled:
            seen.append(cancelled)
            raise

    with pytest.raises(kit.CallTimeoutError):
        await Timeout(1).run(slow)
    assert is_overload(seen[0])
    assert outcome_of(seen[0]) is Outcome.FAILED


def test_the_codes_of_redis_are_read_in_errors_of_redis_only() -> None:
    assert outcome_of(redis.exceptions.ResponseError("OOM command not allowed")) is Outcome.FAILED
    assert outcome_of(httpx.PoolTimeout("OOM command not allowed")) is Outcome.NEUTRAL


def test_only_an_outage_is_judged_by_the_error_behind_it() -> None:
    refused = redis.exceptions.NoPermissionError("x")
    assert outcome_of(_caused(kit.ProdkitError("x"), refused)) is Outcome.FAILED


def of_library(module: str, name: str, **attributes: object) -> Exception:
    kind: type[Exception] = type(name, (Exception,), {"__module__": module})
    error = kind("no")
    for key, value in attributes.items():
        setattr(error, key, value)
    return error


LOST = SQL.ConnectionDoesNotExistError("lost")


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (of_library("sqlalchemy.exc", "DBAPIError", orig=LOST), True),
        (of_library("sqlalchemy.exc", "DBAPIError", orig=of_library("sqlalchemy.exc", "X", orig=LOST)), True),
        (of_library("sqlalchemy.exc", "DBAPIError", orig=SQL.UniqueViolationError("twice")), False),
        (of_library("sqlalchemy.exc", "OperationalError", orig=None), False),
        (of_library("psycopg", "OperationalError"), True),
        (of_library("psycopg2", "OperationalError"), True),
        (of_library("psycopg2", "OperationalError", pgcode="57P01"), True),
        (of_library("psycopg2", "OperationalError", pgcode="53300"), False),
        (of_library("psycopg2", "OperationalError", pgcode=7), True),
        (of_library("psycopg2", "InterfaceError"), False),
        (of_library("psycopg2", "Surprise"), False),
        (of_library("asyncpg.exceptions", "InternalClientError"), True),
        (of_library("asyncpg.exceptions", "InterfaceError"), False),
        (of_library("asyncpg.exceptions", "OperationalError"), False),
        (type("Both", (SQL.InternalClientError, SQL.InterfaceError), {"__module__": "asyncpg"})("no"), False),
        (OSError(errno.ENOENT, "no file"), False),
        (OSError(errno.EIO, "device"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), False),
        (ValueError(), False),
    ],
)
def test_a_lost_connection_is_told_from_a_bad_statement(error: Exception, lost: bool) -> None:
    assert is_lost_connection(error) is lost
