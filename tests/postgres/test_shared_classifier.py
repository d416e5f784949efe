"""Breakers, budgets and limits judge the pool's errors as the pool does: by the one classifier of the policies."""

from __future__ import annotations

import asyncpg
import pytest

from prodkit.core.outcome import Outcome
from prodkit.errors import DatabaseError, PoolExhaustedError
from prodkit.policies.classify import is_lost_connection, outcome_of
from prodkit.postgres.operation import is_stale

LOST = [
    asyncpg.ConnectionDoesNotExistError("gone"),
    asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    asyncpg.CrashShutdownError("crash"),
    asyncpg.CannotConnectNowError("starting up"),
    asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress"),
    ConnectionResetError(),
]


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_lost_connection_is_a_failure(error: Exception) -> None:
    assert is_lost_connection(error)
    assert outcome_of(error) is Outcome.FAILED


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError("twice"),
        asyncpg.PostgresSyntaxError("slect"),
        asyncpg.InterfaceError("another operation is in progress"),
        FileNotFoundError(2, "no such file"),
        PoolExhaustedError("full"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_wrong_statement_or_a_full_pool_says_nothing_of_the_server(error: Exception) -> None:
    assert not is_lost_connection(error)
    assert outcome_of(error) is Outcome.NEUTRAL


def test_what_the_pool_raises_for_an_outage_is_a_failure() -> None:
    assert outcome_of(DatabaseError("the connection was lost")) is Outcome.FAILED


def test_a_stale_cache_is_not_a_lost_connection() -> None:
    stale = asyncpg.OutdatedSchemaCacheError("composite changed")
    assert isinstance(stale, asyncpg.InternalClientError)
    assert is_stale(stale)
    assert not is_lost_connection(stale)
    assert outcome_of(stale) is Outcome.NEUTRAL


def test_a_timeout_says_that_a_call_was_slow_not_that_its_connection_is_gone() -> None:
    assert not is_lost_connection(TimeoutError())
    assert outcome_of(TimeoutError()) is Outcome.FAILED
