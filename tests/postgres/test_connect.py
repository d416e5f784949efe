"""Connecting without a server: pauses, and errors without a password."""

from __future__ import annotations

from itertools import islice
from random import Random
from typing import Any

import pytest

from prodkit import Runtime
from prodkit.errors import DatabaseError
from prodkit.postgres.connect import Connector
from prodkit.postgres.events import ConnectFailed
from prodkit.postgres.options import ConnectOptions
from prodkit.testing.events import EventLog


def connector(dsn: str = "postgresql://app:secret@localhost/x", runtime: Runtime | None = None) -> Connector:
    options: dict[str, Any] = dict.fromkeys(ConnectOptions.__dataclass_fields__)
    options |= {"command_timeout": 30.0, "connect_timeout": 5.0, "server_settings": {}}
    return Connector(
        dsn, ConnectOptions(**options), pool="main", runtime=runtime or Runtime(rng=Random(1)),
        on_read_only=lambda: None, on_schema_change=lambda *_: None,
    )  # fmt: skip


def test_pauses_grow_to_a_bound_and_are_jittered() -> None:
    pauses = list(islice(connector().pauses(), 50))
    assert 0.025 <= pauses[0] <= 0.075
    assert all(0.15 <= pause <= 0.45 for pause in pauses[4:])
    assert len(set(pauses)) == len(pauses)


def test_a_failed_attempt_is_reported_by_its_cause() -> None:
    runtime = Runtime(rng=Random(1))
    error = ConnectionError("wrapped")
    error.__cause__ = TimeoutError()
    with EventLog(runtime.events) as log:
        connector(runtime=runtime).report(error, 0.2)
    assert log.only(ConnectFailed) == ConnectFailed(pool="main", error="TimeoutError", retry_in=0.2)


def test_before_any_attempt_a_server_just_does_not_answer() -> None:
    made = connector()
    assert not made.failing
    assert "does not answer" in str(made.unreachable(1.5))
    assert "1.50 s" in str(made.unreachable(1.5))


@pytest.mark.parametrize(
    "dsn", ["mysql://app:secret@h/x", "postgresql://app:secret@h:port/x", "postgresql://app:sec%ret@[h/x"]
)
async def test_an_address_that_cannot_be_used_is_an_error_without_its_password(dsn: str) -> None:
    made = connector(dsn)
    with pytest.raises(DatabaseError) as caught:
        await made.open()
    assert made.failures == 1
    assert not {"secret", "sec%ret"} & set(str(caught.value).replace("@", " ").replace(":", " ").split())
    assert caught.value.__cause__ is None
