"""Breakers, budgets and limits judge the pool's errors as the pool does: by the one classifier of the policies."""

from __future__ import annotations

import asyncpg
import pytest

from prodkit.core.outcome import Outcome
from prodkit.errors import DatabaseError, PoolExhaustedError
from prodkit.policies.classify import outcome_of
from prodkit.postgres.asyncpg_internals import is_lost

LOST = [
    asyncpg.ConnectionDoesNotExistError("gone"),
    asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    asyncpg.CrashShutdownError("crash"),
    asyncpg.CannotConnectNowError("starting up"),
    ConnectionResetError(),
]


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_lost_connection_is_a_failure(error: Exception) -> None:
    assert is_lost(error)
    assert outcome_of(error) is Outcome.FAILED


@pytest.mark.parametrize(
    "error",
    [asyncpg.UniqueViolationError("twice"), asyncpg.PostgresSyntaxError("slect"), PoolExhaustedError("full")],
    ids=lambda error: type(error).__name__,
)
def test_a_wrong_statement_or_a_full_pool_says_nothing_of_the_server(error: Exception) -> None:
    assert not is_lost(error)
    assert outcome_of(error) is Outcome.NEUTRAL


def test_what_the_pool_raises_for_an_outage_is_a_failure() -> None:
    assert outcome_of(DatabaseError("the connection was lost")) is Outcome.FAILED
