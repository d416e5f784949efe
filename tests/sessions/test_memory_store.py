"""Sessions in the memory of one process, on virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prodkit.sessions import MemoryStore
from prodkit.testing import virtual_time

A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))


async def created(store: MemoryStore, key: bytes, user: str | None = "7", **options: Any) -> None:
    facts: dict[str, Any] = {"changed": {"n": "1"}, "idle": 100.0, "lifetime": 1000.0} | options
    await store.create(key, user_id=user, **facts)


@virtual_time
async def test_what_was_created_is_loaded_with_its_times() -> None:
    store = MemoryStore()
    await created(store, A, changed={"n": "1", "list": "[1,2]"})
    await asyncio.sleep(30)
    found = await store.load(A)
    assert found is not None
    assert (found.user_id, found.data) == ("7", {"n": 1, "list": [1, 2]})
    assert [round(each) for each in (found.idle, found.left, found.age)] == [30, 970, 30]
    assert await store.load(B) is None


@virtual_time
async def test_a_loaded_value_is_a_copy() -> None:
    store = MemoryStore()
    await created(store, A, changed={"list": "[1]"})
    for _ in range(2):
        found = await store.load(A)
        assert found is not None
        assert found.data["list"] == [1]
        found.data["list"].append(2)


@virtual_time
async def test_a_session_ends_when_it_idles_and_at_its_lifetime() -> None:
    store = MemoryStore()
    await created(store, A, lifetime=250.0)
    for _ in range(2):
        await asyncio.sleep(99)
        await store.touch(A, idle=100, every=0)
    await asyncio.sleep(40)
    assert await store.load(A) is not None
    await asyncio.sleep(13)  # touched 53 s ago, but 251 s old
    assert await store.load(A) is None
    assert not await store.merge(A, changed={}, removed=[], idle=100)
    assert not await store.delete(A)


@virtual_time
async def test_touching_is_skipped_within_the_interval() -> None:
    store = MemoryStore()
    await created(store, A)
    await asyncio.sleep(59)
    await store.touch(A, idle=100, every=60)
    found = await store.load(A)
    assert found is not None
    assert found.idle == pytest.approx(59, abs=0.1)
    await store.touch(B, idle=100, every=0)  # an unknown one is not made
    assert await store.load(B) is None


@virtual_time
async def test_merging_writes_only_the_named_keys() -> None:
    store = MemoryStore()
    await created(store, A, changed={"a": "1", "b": "2", "c": "3"})
    assert await store.merge(A, changed={"a": "9", "d": "4"}, removed=["b", "unknown"], idle=100)
    found = await store.load(A)
    assert found is not None
    assert found.data == {"a": 9, "c": 3, "d": 4}


@pytest.mark.parametrize(("lifetime", "age", "left"), [(None, 50, 950), (1000.0, 0, 1000)])
def test_a_rotation_moves_the_session_and_keeps_its_end_unless_given_another(
    lifetime: float | None, age: int, left: int
) -> None:
    async def run() -> None:
        store = MemoryStore()
        await created(store, A, user=None, device="Firefox", network="203.0.113.0/24")
        await asyncio.sleep(50)
        arguments: dict[str, Any] = {"user_id": "8", "changed": {"m": "2"}, "removed": [], "idle": 100}
        assert await store.rotate(A, B, lifetime=lifetime, network="192.0.2.0/24", **arguments)
        assert not await store.rotate(A, C, lifetime=lifetime, **arguments)
        assert await store.alive([A, B, C]) == {B}
        found = await store.load(B)
        assert found is not None
        assert (found.user_id, found.data, round(found.age), round(found.left)) == (
            "8",
            {"n": 1, "m": 2},
            age,
            left,
        )
        (info,) = await store.list_user("8")
        assert (info.device, info.network) == ("Firefox", "192.0.2.0/24")

    virtual_time(run())


@virtual_time
async def test_a_users_sessions_are_listed_and_ended() -> None:
    store = MemoryStore()
    for key, user in ((A, "7"), (B, "7"), (C, "8")):
        await created(store, key, user)
        await asyncio.sleep(1)
    await store.touch(A, idle=100, every=0)
    assert [info.handle for info in await store.list_user("7")] == [A.hex(), B.hex()]  # latest seen first
    assert await store.delete_user("7", keep=A) == 1
    assert await store.alive([A, B, C]) == {A, C}
    assert await store.delete_user("unknown", keep=None) == 0


@virtual_time
async def test_expired_sessions_are_removed_up_to_the_limit() -> None:
    store = MemoryStore()
    for number in range(5):
        await created(store, bytes([number]), idle=10.0)
    await created(store, A)
    await asyncio.sleep(11)
    assert [await store.delete_expired(limit=3) for _ in range(3)] == [3, 2, 0]
    assert (await store.check()).details == {"sessions": 1}


@virtual_time
async def test_beyond_the_bound_the_least_recently_used_one_ends() -> None:
    store = MemoryStore(max_sessions=2)
    await created(store, A)
    await created(store, B)
    await store.touch(A, idle=100, every=0)
    await created(store, C)
    assert await store.alive([A, B, C]) == {A, C}
    with pytest.raises(ValueError, match="max_sessions"):
        MemoryStore(max_sessions=0)


@virtual_time
async def test_a_nul_is_refused_as_postgres_would() -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match="NUL"):
        await created(store, A, changed={"a": '"\\u0000"'})
    assert await store.load(A) is None
