"""The time that a statement has."""

from __future__ import annotations

from math import inf

import pytest

from prodkit import Deadline
from prodkit.errors import CallTimeoutError, DeadlineExceededError
from prodkit.postgres.time_limits import (
    Owner,
    ends_transaction,
    may_follow,
    milliseconds,
    owner_after,
    seconds,
    setting,
    time_left,
    timed_out,
    unsynced,
)


def test_the_sooner_of_the_statements_limit_and_the_deadline() -> None:
    assert time_left(None, None) is None
    assert time_left(None, 30.0) == 30.0
    assert time_left(100, 30.0) == 100
    with Deadline.after(3.0):
        left = time_left(100, 30.0)
        assert left is not None
        assert 2.0 < left <= 3.0
        assert time_left(0.5, 30.0) == 0.5


def test_a_limit_that_leaves_no_time_is_not_the_deadlines() -> None:
    with pytest.raises(CallTimeoutError, match="was not sent") as caught:
        time_left(0, 30.0)
    assert not isinstance(caught.value, DeadlineExceededError)
    with Deadline.after(0), pytest.raises(DeadlineExceededError, match="was not sent"):
        time_left(None, 30.0)


def test_an_error_names_the_deadline_only_where_it_has_passed() -> None:
    assert type(timed_out(1.0)) is CallTimeoutError
    with Deadline.after(60):
        assert type(timed_out(1.0)) is CallTimeoutError
    with Deadline.after(0):
        assert type(timed_out(1.0)) is DeadlineExceededError


@pytest.mark.parametrize(("limit", "expected"), [(None, 0), (0.0001, 1), (0.73, 730), (1e9, 2**31 - 1)])
def test_the_servers_limit(limit: float | None, expected: int) -> None:
    assert milliseconds(limit) == expected
    assert setting(limit) == f"SET statement_timeout = {expected}"
    assert seconds(limit) == (inf if limit is None else limit)


@pytest.mark.parametrize(
    ("query", "may"),
    [
        ("  SELECT 1", True),
        ("(values (1))", True),
        ("vacuum t", False),
        ("call f()", False),
        ("selection", False),
    ],
)
def test_statements_that_may_follow_another_one(query: str, may: bool) -> None:
    assert may_follow(query) is may


def test_the_messages_end_without_a_sync() -> None:
    sent = unsynced("SET x = 1")
    kinds, at = "", 0
    while at < len(sent):
        kinds += chr(sent[at])
        at += 1 + int.from_bytes(sent[at + 1 : at + 5])
    assert (kinds, at) == ("PBE", len(sent))


@pytest.mark.parametrize(
    ("before", "query", "inside", "expected"),
    [
        ("", "select 1", False, ("", False)),
        ("", "SET statement_timeout = '5s'", False, ("session", False)),
        ("", "set statement_timeout to 5000", True, ("transaction", False)),
        ("", "SET LOCAL statement_timeout = 0", True, ("local", False)),
        ("", "SET LOCAL statement_timeout = 0", False, ("", True)),
        ("session", "SET LOCAL statement_timeout = 0", False, ("session", True)),
        ("", "select set_config('statement_timeout', '5s', true)", True, ("local", False)),
        ("", "select set_config('statement_timeout', $1, false)", False, ("session", False)),
        ("session", "reset statement_timeout", False, ("", True)),
        ("session", "set statement_timeout to default", False, ("", True)),
        ("session", "RESET ALL", False, ("", True)),
        ("session", "discard all", False, ("", True)),
        ("", "rollback", False, ("", True)),
        ("", "insert into t values (1); ROLLBACK", False, ("", True)),
        ("", "rollback to savepoint a", True, ("", True)),
        ("local", "commit", False, ("", True)),
        ("transaction", "commit", False, ("session", False)),
        ("transaction", "abort", False, ("", True)),
        ("session", "rollback", False, ("session", False)),
        ("", "call nightly()", False, ("", True)),
        ("", "do $$ begin perform 1; end $$", False, ("", True)),
    ],
)
def test_whose_limit_is_in_force_behind_a_statement(
    before: Owner, query: str, inside: bool, expected: tuple[Owner, bool]
) -> None:
    assert owner_after(before, query, inside=inside) == expected


@pytest.mark.parametrize(
    ("query", "ends"),
    [
        ("rollback", True),
        ("  COMMIT;", True),
        ("end", True),
        ("Abort", True),
        ("endless", False),
        ("select 1", False),
    ],
)
def test_what_ends_a_transaction(query: str, ends: bool) -> None:
    assert ends_transaction(query) is ends


@pytest.mark.parametrize("first", ["", "select 'statement_timeout';\n"])
def test_a_long_script_is_judged_in_linear_time(first: str) -> None:
    """Quadratic, this one would take minutes."""
    assert owner_after("", first + "update t set a = 1;\n" * 50_000, inside=False) == ("", False)
