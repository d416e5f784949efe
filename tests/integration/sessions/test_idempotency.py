"""Kept answers in a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from prodkit.sessions import MemoryIdempotency, PostgresIdempotency
from prodkit.sessions.idempotency import IdempotencyStore, StoredAnswer

pytestmark = pytest.mark.integration

KEY, REQUEST = b"k" * 32, b"r" * 32
ANSWER = StoredAnswer(201, (("location", "/p/1"), ("x", "\u00e9")), b"\x00body")


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[IdempotencyStore]:
    if request.param == "memory":
        yield MemoryIdempotency()
        return
    import asyncpg

    async with asyncpg.create_pool(request.getfixturevalue("postgres_url"), min_size=1, max_size=10) as pool:
        made = PostgresIdempotency(pool)
        await made.create_table()
        await made.create_table()
        yield made


async def claim(store: IdempotencyStore, token: bytes, request: bytes = REQUEST, **times: float) -> str:
    found = await store.claim(KEY, request, token, **{"lease": 60.0, "ttl": 60.0, **times})
    return found.state


async def test_one_of_many_claims_wins_and_its_answer_is_kept(store: IdempotencyStore) -> None:
    states = await asyncio.gather(*(claim(store, bytes([number])) for number in range(30)))
    assert sorted(states) == ["mine"] + ["running"] * 29
    winner = bytes([states.index("mine")])
    await store.finish(KEY, b"other", ANSWER)
    assert await claim(store, b"x") == "running"
    await store.finish(KEY, winner, ANSWER)
    found = await store.claim(KEY, REQUEST, b"x", lease=60, ttl=60)
    assert (found.state, found.answer) == ("done", ANSWER)
    assert await claim(store, b"x", b"s" * 32) == "other"


async def test_failed_crashed_and_expired_attempts_free_the_key(store: IdempotencyStore) -> None:
    assert await claim(store, b"a") == "mine"
    await store.free(KEY, b"a")
    assert await claim(store, b"b", lease=0.05) == "mine"
    await asyncio.sleep(0.1)
    assert await claim(store, b"c") == "mine"  # b crashed
    await store.free(KEY, b"b")
    assert await claim(store, b"d") == "running"
    await store.finish(KEY, b"c", ANSWER)
    await store.free(KEY, b"c")
    assert await claim(store, b"d") == "done"
    assert await store.purge() == 0


async def test_an_old_answer_ends(store: IdempotencyStore) -> None:
    assert await claim(store, b"a", ttl=0.05) == "mine"
    await store.finish(KEY, b"a", ANSWER)
    await asyncio.sleep(0.1)
    assert await store.purge() == 1
    assert await claim(store, b"b", b"s" * 32) == "mine"
