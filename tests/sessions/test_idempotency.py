"""Answers kept in the memory of one process, on virtual time: claims, leases, and who may finish."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prodkit.errors import DatabaseError
from prodkit.sessions import MemoryIdempotency
from prodkit.sessions.idempotency import Claim, PostgresIdempotency, StoredAnswer
from prodkit.testing import virtual_time

KEY, OTHER = b"k" * 32, b"o" * 32
ANSWER = StoredAnswer(201, (("location", "/runs/7"),), b"created")


async def claim(
    store: MemoryIdempotency, token: bytes = b"1", *, key: bytes = KEY, request: bytes = b"r", **times: float
) -> Claim:
    return await store.claim(key, request, token, **({"lease": 30.0, "ttl": 3600.0} | times))


@virtual_time
async def test_the_first_claims_the_others_wait_and_then_get_its_answer() -> None:
    store = MemoryIdempotency()
    assert await claim(store) == Claim("mine")
    assert await claim(store, b"2") == Claim("running")
    assert await claim(store, b"3", key=OTHER) == Claim("mine")
    await store.finish(KEY, b"1", ANSWER)
    assert await claim(store, b"2") == Claim("done", ANSWER)


@virtual_time
async def test_a_key_belongs_to_one_request() -> None:
    store = MemoryIdempotency()
    await claim(store)
    assert await claim(store, b"2", request=b"another") == Claim("other")
    await store.finish(KEY, b"1", ANSWER)
    assert await claim(store, b"2", request=b"another") == Claim("other")


@virtual_time
async def test_a_crashed_attempt_is_claimed_again_after_its_lease_and_cannot_finish_any_more() -> None:
    store = MemoryIdempotency()
    await claim(store)
    await asyncio.sleep(30.1)
    assert await claim(store, b"2") == Claim("mine")
    await store.finish(KEY, b"1", ANSWER)  # the first one, late
    await store.free(KEY, b"1")
    assert await claim(store, b"3") == Claim("running")


@virtual_time
async def test_a_failed_attempt_frees_its_key_and_an_answer_is_never_freed() -> None:
    store = MemoryIdempotency()
    await claim(store)
    await store.free(KEY, b"1")
    assert await claim(store, b"2") == Claim("mine")
    await store.finish(KEY, b"2", ANSWER)
    await store.free(KEY, b"2")
    assert await claim(store, b"3") == Claim("done", ANSWER)


@virtual_time
async def test_an_answer_is_kept_for_its_ttl() -> None:
    store = MemoryIdempotency()
    await claim(store)
    await store.finish(KEY, b"1", ANSWER)
    await asyncio.sleep(3599)
    assert (await claim(store, b"2")).state == "done"
    assert await store.purge() == 0
    await asyncio.sleep(2)
    assert await store.purge() == 1
    assert await claim(store, b"2", request=b"another") == Claim("mine")


@virtual_time
async def test_beyond_the_bound_the_oldest_answer_is_dropped() -> None:
    store = MemoryIdempotency(max_answers=2)
    for key in (b"a", b"b", b"c"):
        await claim(store, key=key)
    assert (await claim(store, b"2", key=b"b")).state == "running"
    assert (await claim(store, b"2", key=b"a")).state == "mine"


async def test_a_database_that_is_away_is_an_error_of_the_kit() -> None:
    class Away:
        async def fetchval(self, query: str, *args: Any) -> Any:
            raise ConnectionRefusedError("db-1:5432")

    store = PostgresIdempotency(Away())  # type: ignore[arg-type]
    with pytest.raises(DatabaseError, match="ConnectionRefusedError") as caught:
        await store.purge()
    assert "db-1" not in str(caught.value)
