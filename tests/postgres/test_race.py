"""The race between the hosts of an address, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from prodkit.errors import DatabaseError
from prodkit.postgres.address import Host
from prodkit.postgres.race import race
from prodkit.testing import virtual_time

A, B, C = Host("a", 5432), Host("b", 5432), Host("c", 5432)


def after(seconds: float, result: object) -> Callable[[], Awaitable[Any]]:
    async def connect() -> Any:
        await asyncio.sleep(seconds)
        if isinstance(result, Exception):
            raise result
        return result

    return connect


async def raced(*attempts: tuple[Host, Callable[[], Awaitable[Any]]]) -> tuple[Any, float, list[Any]]:
    """Return the winner, the time it took, and the connections that came too late."""
    late: list[Any] = []
    began = asyncio.get_running_loop().time()
    found = await race(list(attempts), discard=late.append)
    took = asyncio.get_running_loop().time() - began
    await asyncio.sleep(60)
    return found, round(took, 2), late


@virtual_time
async def test_the_first_host_wins_when_it_answers_in_time() -> None:
    assert await raced((A, after(0.1, "a")), (B, after(0, "b"))) == ((A, "a"), 0.1, [])


@virtual_time
async def test_a_silent_host_costs_a_moment_and_not_its_timeout() -> None:
    assert await raced((A, after(30, "a")), (B, after(0.01, "b"))) == ((B, "b"), 0.16, [])


@virtual_time
async def test_a_failure_starts_the_next_attempt_at_once() -> None:
    found = await raced((A, after(0.01, OSError())), (B, after(0.02, OSError())), (C, after(0.03, "c")))
    assert found == ((C, "c"), 0.06, [])


@virtual_time
async def test_when_all_fail_the_error_that_may_pass_is_raised() -> None:
    with pytest.raises(ConnectionRefusedError):
        await raced((A, after(0, ConnectionRefusedError())), (B, after(0, DatabaseError("no such database"))))
    with pytest.raises(DatabaseError, match="second"):
        await raced((A, after(0, DatabaseError("first"))), (B, after(0, DatabaseError("second"))))


@virtual_time
async def test_a_connection_that_comes_in_spite_of_its_cancellation_is_discarded() -> None:
    async def stubborn() -> Any:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            return "late"

    assert (await raced((A, stubborn), (B, after(0, "b"))))[2] == ["late"]


@virtual_time
async def test_a_caller_that_leaves_ends_all_attempts() -> None:
    racing = asyncio.create_task(raced((A, after(30, "a")), (B, after(30, "b"))))
    await asyncio.sleep(1)
    racing.cancel()
    await asyncio.wait([racing])
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1
