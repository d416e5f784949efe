"""The private parts of asyncpg that ``asyncpg_internals.py`` relies on, held to the installed version."""

from __future__ import annotations

import inspect

import asyncpg
import pytest
from asyncpg import connection, pool, transaction

from prodkit.postgres.asyncpg_internals import GuardedConnection


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_check_open", ["self"]),
        ("_cleanup", ["self"]),
        ("_unwrap", ["self"]),
        ("_drop_global_statement_cache", ["self"]),
        ("_drop_global_type_cache", ["self"]),
        ("_drop_local_statement_cache", ["self"]),
        ("_drop_local_type_cache", ["self"]),
        ("_on_release", ["self"]),
    ],
)
def test_methods_that_are_overridden_or_called(name: str, parameters: list[str]) -> None:
    found = list(inspect.signature(getattr(asyncpg.Connection, name)).parameters)
    assert found[: len(parameters)] == parameters


def test_attributes() -> None:
    slots = asyncpg.Connection.__slots__
    for name in (
        "_protocol",
        "_transport",
        "_top_xact",
        "_pool_release_ctr",
        "_listeners",
        "_log_listeners",
        "_config",
    ):
        assert name in slots
    assert {"_con", "_holder"} <= set(pool.PoolConnectionProxy.__slots__)


def test_a_connection_takes_the_guarded_protocol() -> None:
    found = list(inspect.signature(asyncpg.Connection.__init__).parameters)
    assert found == ["self", "protocol", "transport", "loop", "addr", "config", "params"]
    assert "guard" in GuardedConnection.__slots__
    assert "self._connection.execute(query)" in inspect.getsource(transaction.Transaction)
    assert "self._check_open()" in inspect.getsource(connection.Connection.execute)


def test_transactions_are_spelled_as_expected() -> None:
    source = inspect.getsource(transaction.Transaction)
    for words in ("'BEGIN'", "'COMMIT;'", "'ROLLBACK;'", "'SAVEPOINT {};'", "'ROLLBACK TO {};'"):
        assert words in source
