"""Conditions, negative caching, time limits, many keys, templates: the options of a load."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import Any

import pytest

from prodkit.cache import FOREVER, MISSING, Cache, Hit, MsgpackCodec, RecordCodec
from prodkit.errors import CallTimeoutError
from prodkit.testing.loop import virtual_time


class NotFoundError(Exception):
    pass


class Source:
    def __init__(self, seconds: float = 0.0) -> None:
        self.calls = 0
        self.seconds = seconds
        self.error: Exception | None = None

    async def load(self) -> int:
        self.calls += 1
        call = self.calls
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return call


@virtual_time
async def test_negative_caching() -> None:
    cache, source = Cache(namespace="t"), Source()
    source.error = NotFoundError("user", 7)
    for _ in range(3):
        with pytest.raises(NotFoundError) as caught:
            await cache.get_or_set("k", source.load, ttl=60, negative={NotFoundError: 5.0})
        assert caught.value.args == ("user", 7)
    assert source.calls == 1
    assert await cache.get("k") is MISSING
    await asyncio.sleep(5.1)
    source.error = None
    assert await cache.get_or_set("k", source.load, ttl=60, negative={NotFoundError: 5.0}) == 2


@virtual_time
async def test_a_failure_is_only_for_those_who_know_it() -> None:
    cache, source = Cache(namespace="t"), Source()
    source.error = NotFoundError("x")
    with pytest.raises(NotFoundError):
        await cache.get_or_set("k", source.load, ttl=60, negative={NotFoundError: 5.0})
    source.error = None
    assert await cache.get_or_set("k", source.load, ttl=60) == 2
    source.error = OSError("not named")
    for _ in range(2):
        with pytest.raises(OSError, match="not named"):
            await cache.get_or_set("o", source.load, ttl=60, negative={NotFoundError: 5.0})
    assert source.calls == 4


@virtual_time
async def test_condition_and_ttl_by_result() -> None:
    cache, source = Cache(namespace="t"), Source()
    for _ in range(2):
        await cache.get_or_set("k", source.load, ttl=60, when=lambda value: value > 2)
    assert source.calls == 2
    assert (
        await cache.get_or_set("k", source.load, ttl=lambda value: value * 10, when=lambda value: value > 2)
        == 3
    )
    await asyncio.sleep(29)
    assert await cache.get("k") == 3
    await asyncio.sleep(2)
    assert await cache.get("k") is MISSING


@virtual_time
async def test_soft_and_hard_timeouts() -> None:
    cache, source = Cache(namespace="t"), Source(1.0)
    how: dict[str, Any] = {"ttl": 10, "stale": 600}
    with pytest.raises(CallTimeoutError):
        await cache.get_or_set("k", source.load, hard_timeout=0.5, **how)
    await asyncio.sleep(0.6)
    assert await cache.get("k") == 1  # it continued and was stored
    await asyncio.sleep(10)
    hit = await cache.lookup("k", source.load, soft_timeout=0.5, **how)
    assert (hit.value, hit.stale, hit.error) == (1, True, None)
    await asyncio.sleep(12)
    hit = await cache.lookup("k", source.load, soft_timeout=2, **how)
    assert (hit.value, hit.stale, hit.source) == (3, False, "load")
    await asyncio.sleep(11)
    source.error = OSError("down")
    hit = await cache.lookup("k", source.load, soft_timeout=2, **how)
    assert (hit.value, hit.stale) == (3, True)
    assert isinstance(hit.error, OSError)


@virtual_time
async def test_many() -> None:
    cache, asked = Cache(namespace="t"), list[list[str]]()

    async def load(keys: list[str]) -> dict[str, str]:
        asked.append(keys)
        await asyncio.sleep(1)
        return {key: key.upper() for key in keys if key != "none"}

    await cache.set_many({"a": 1, "b": None}, ttl=60, tags=["x"])
    assert await cache.get_many(["a", "b", "c"]) == {"a": 1, "b": None}
    first, second = await asyncio.gather(
        cache.load_many(["a", "c", "none"], load, ttl=60), cache.load_many(["c", "d"], load, ttl=60)
    )
    assert first == {"a": 1, "c": "C"}
    assert second == {"c": "C", "d": "D"}
    assert asked == [["c", "none"], ["d"]]
    assert await cache.get("d") == "D"
    await cache.invalidate_tags("x")
    assert await cache.get_many(["a", "b", "c"]) == {"c": "C"}
    with pytest.raises(TypeError, match="cannot be cached"):
        await cache.set_many({"ok": 1, "bad": object()}, ttl=60)
    assert await cache.get("ok") is MISSING

    async def broken(keys: list[str]) -> dict[str, str]:
        raise LookupError("down")

    with pytest.raises(LookupError):
        await cache.load_many(["x", "y"], broken, ttl=60)


@virtual_time
async def test_two_loads_that_wait_for_each_other() -> None:
    cache = Cache(namespace="t")

    async def load_a() -> Any:
        await asyncio.sleep(1)
        return await cache.get_or_set("b", load_b, ttl=60)

    async def load_b() -> Any:
        await asyncio.sleep(1)
        return await cache.get_or_set("a", load_a, ttl=60)

    results = await asyncio.gather(
        cache.get_or_set("a", load_a, ttl=60), cache.get_or_set("b", load_b, ttl=60), return_exceptions=True
    )
    assert any(isinstance(each, RuntimeError) for each in results)


def test_a_load_of_a_loop_that_ended_is_not_joined() -> None:
    cache, kept = Cache(namespace="t"), list[Any]()

    async def begin() -> None:
        kept.append(asyncio.ensure_future(cache.get_or_set("k", lambda: asyncio.sleep(60), ttl=60)))
        await asyncio.sleep(0.01)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())

    async def again() -> Any:
        async with asyncio.timeout(2):
            return await cache.get_or_set("k", lambda: 7, ttl=60)

    assert asyncio.run(again()) == 7
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


async def test_plain_functions_run_in_a_thread() -> None:
    cache = Cache(namespace="t")

    @cache.cached(ttl=60)
    def where(number: int) -> str:
        return threading.current_thread().name

    assert await where(1) != threading.current_thread().name
    assert await where(1) == await where(1)


@virtual_time
async def test_key_templates() -> None:
    cache, calls = Cache(namespace="t"), list[int]()

    @cache.cached(ttl=60, key="profile:{user}:{page}")
    async def profile(user: int, page: int = 1) -> int:
        calls.append(user)
        return user

    assert profile.key_for(7) == "profile:7:1"
    assert await profile(7) == await profile(user=7, page=1) == 7
    assert calls == [7]
    assert await cache.invalidate("profile:7:*") == 1

    class Shop:
        id = 5

        @cache.cached(ttl=60, key="shop:{self.id}")
        async def name(self) -> str:
            return "shop"

    assert await Shop().name() == "shop"
    assert await cache.get("shop:5") == "shop"
    with pytest.raises(ValueError, match="nothing"):
        cache.cached(ttl=60, key="{nothing}")(profile.__wrapped__)


@virtual_time
async def test_copies() -> None:
    never, shallow = Cache(namespace="t", copy="never"), Cache(namespace="t", copy="shallow")
    document = {"a": [1]}
    for cache in (never, shallow):
        await cache.set("k", document, ttl=60)
    assert await never.get("k") is await never.get("k")
    one, two = await shallow.get("k"), await shallow.get("k")
    assert one is not two
    assert one["a"] is two["a"]


@dataclasses.dataclass
class Profile:
    name: str
    age: int


@virtual_time
async def test_records_and_msgpack() -> None:
    cache = Cache(namespace="t", codec=RecordCodec(list[Profile], version=2))
    await cache.set("k", [Profile("Ana", 7)], ttl=60)
    assert await cache.get("k") == [Profile("Ana", 7)]
    with pytest.raises(TypeError, match="record"):
        await cache.set("k", [{"name": 1}], ttl=60)
    assert RecordCodec(Profile).name != RecordCodec(Profile, version=2).name
    pytest.importorskip("msgpack")
    packed = Cache(namespace="t", codec="msgpack")
    await packed.set("k", {1: b"x", "t": [None, 1.5]}, ttl=FOREVER)
    assert await packed.get("k") == {1: b"x", "t": [None, 1.5]}
    assert MsgpackCodec().name == "msgpack"
    with pytest.raises(TypeError, match="MessagePack"):
        await packed.set("k", object(), ttl=60)


def test_big_integers_survive_orjson() -> None:
    from prodkit.cache import JsonCodec

    codec = JsonCodec()
    for value in (2**63, -(2**64), 10**30, {"a": 10**25}, 1.5, "1" * 30):
        assert codec.decode(codec.encode(value)) == value
        assert type(codec.decode(codec.encode(value))) is type(value)


@virtual_time
async def test_a_stale_hit_tells_the_error_of_the_last_refresh_until_one_succeeds() -> None:
    cache, fails = Cache(namespace="t"), False

    async def load() -> str:
        if fails:
            raise ConnectionError("down")
        return "value"

    async def look() -> Hit[str]:
        return await cache.lookup("k", load, ttl=1, stale=100)

    assert (await look()).error is None
    fails = True
    await asyncio.sleep(1.5)
    first = await look()  # begins the refresh that fails
    assert (first.stale, first.error) == (True, None)
    await asyncio.sleep(0.1)
    second = await look()  # no refresh for a moment
    assert second.stale
    assert isinstance(second.error, ConnectionError)
    fails = False
    await asyncio.sleep(2)
    await look()
    await asyncio.sleep(0.1)
    assert ((await look()).stale, (await look()).error) == (False, None)
