from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from prodkit.cache import FOREVER, MISSING, Cache, JsonCodec, counter, escape
from prodkit.cache.patterns import compiled
from prodkit.core.deadline import Deadline
from prodkit.errors import DeadlineExceededError
from prodkit.redis import RedisLink
from prodkit.testing.proxy import Proxy
from prodkit.testing.servers import Redis, redis_binaries

pytestmark = pytest.mark.integration


async def until(condition: Any, limit: float = 5.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture(scope="module", params=sorted(redis_binaries()))
def redis_server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """Each test of this file runs on every server that is installed."""
    with Redis(binary=redis_binaries()[request.param]) as server:
        yield server


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    async with RedisLink(redis_url, timeout=2) as link:
        yield link


@pytest.fixture(params=["memory", "redis", "coherent"])
async def cache(request: pytest.FixtureRequest, link: RedisLink) -> AsyncIterator[Cache]:
    """One suite for a cache in memory, one that asks Redis every time, and one that hears of changes."""
    link_or_none = None if request.param == "memory" else link
    coherent = request.param == "coherent"
    async with Cache(link_or_none, namespace="t", max_staleness=0, coherence=coherent) as cache:
        if coherent:
            await until(lambda: cache._tiers.coherent)
        yield cache


class Source:
    def __init__(self, seconds: float = 0.0) -> None:
        self.calls = 0
        self.seconds = seconds

    async def load(self) -> int:
        self.calls += 1
        call = self.calls
        await asyncio.sleep(self.seconds)
        return call


# -- what memory and Redis have in common --
async def test_values(cache: Cache) -> None:
    for value in (None, 0, "", False, [], {}, {"a": [b"\xff", None]}, "x" * 100_000, "çã\u2028"):
        await cache.set("k", value, ttl=5)
        assert await cache.get("k") == value
    assert await cache.get("other") is MISSING


async def test_ttl_and_stale(cache: Cache) -> None:
    source = Source()
    await cache.set("a", 1, ttl=0.15)
    await cache.set("b", 1, ttl=FOREVER)
    assert await cache.get_or_set("s", source.load, ttl=0.15, stale=5) == 1
    await asyncio.sleep(0.2)
    assert await cache.get("a") is MISSING
    assert await cache.get("b") == 1
    assert await cache.get("s") is MISSING
    assert await cache.get_or_set("s", source.load, ttl=0.15, stale=5) == 1
    await asyncio.sleep(0.05)
    assert await cache.get_or_set("s", source.load, ttl=0.15, stale=5) == 2


async def test_one_load(cache: Cache) -> None:
    source = Source(0.05)
    tasks = [asyncio.ensure_future(cache.get_or_set("k", source.load, ttl=5)) for _ in range(200)]
    await asyncio.sleep(0.02)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[1:] == [1] * 199
    assert source.calls == 1


async def test_tags(cache: Cache) -> None:
    source = Source()
    await cache.set("a", 1, ttl=5, tags=["u:1", "x"])
    await cache.set("b", 2, ttl=FOREVER, tags=["u:2", 'odd "tag" ç'])
    assert await cache.get_or_set("c", source.load, ttl=5, tags=["u:1"]) == 1
    await cache.invalidate_tags("u:1", "unknown")
    assert [await cache.get(key, None) for key in "abc"] == [None, 2, None]
    assert await cache.get_or_set("c", source.load, ttl=5, tags=["u:1"]) == 2
    assert await cache.get("c") == 2
    await cache.invalidate_tags('odd "tag" ç')
    assert await cache.get("b") is MISSING


async def test_delete_patterns_and_clear(cache: Cache) -> None:
    for key in ("a:1", "a:2", "b:1", "a*", "ç:1"):
        await cache.set(key, 1, ttl=5)
    assert await cache.delete("b:1")
    assert not await cache.delete("b:1")
    assert await cache.delete_many("ç:1", "none") == 1
    assert await cache.invalidate("a:?") == 2
    assert await cache.invalidate(escape("a*")) == 1
    await cache.set("z", 1, ttl=5)
    await cache.clear()
    assert await cache.get("z") is MISSING
    await cache.set("z", 2, ttl=5)
    assert await cache.get("z") == 2


# -- two processes --
@pytest.mark.parametrize("how", ["delete", "pattern", "tags", "clear", "set"])
async def test_an_invalidation_elsewhere_overtakes_a_load(link: RedisLink, how: str) -> None:
    here, there = Cache(link, namespace="t", max_staleness=0), Cache(link, namespace="t", max_staleness=0)
    source = Source(0.1)
    loading = asyncio.ensure_future(here.get_or_set("k:1", source.load, ttl=5, tags=["t"]))
    await asyncio.sleep(0.05)
    match how:
        case "delete":
            await there.delete("k:1")
        case "pattern":
            await there.invalidate("k:*")
        case "tags":
            await there.invalidate_tags("t")
        case "clear":
            await there.clear()
        case _:
            await there.set("k:1", "new", ttl=5)
    assert await loading == 1
    expected = "new" if how == "set" else MISSING
    assert await there.get("k:1") == expected
    assert await here.get("k:1") == expected


async def test_processes_share_and_see_changes_within_max_staleness(link: RedisLink) -> None:
    here, there = Cache(link, namespace="t", max_staleness=0.1), Cache(link, namespace="t")
    source = Source()
    assert await here.get_or_set("k", source.load, ttl=5) == 1
    assert await there.get_or_set("k", source.load, ttl=5) == 1
    await there.set("k", "changed", ttl=5)
    await asyncio.sleep(0.11)
    assert await here.get("k") == "changed"
    other = Cache(link, namespace="other")
    assert await other.get("k") is MISSING


async def test_what_is_invalidated_here_by_tag_was_stored_elsewhere(link: RedisLink) -> None:
    here, there = Cache(link, namespace="t", max_staleness=60), Cache(link, namespace="t")
    await there.set("k", 1, ttl=5, tags=["u"])
    assert await here.get("k") == 1
    await here.invalidate_tags("u")
    assert await here.get("k") is MISSING


# -- memory that hears of changes --
@pytest.mark.parametrize("how", ["set", "delete", "pattern", "tags", "clear", "expiry", "flush"])
async def test_changes_elsewhere_are_heard(link: RedisLink, how: str) -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(Cache(link, namespace="t"))
        there = await stack.enter_async_context(Cache(link, namespace="t"))
        await until(lambda: here._tiers.coherent and there._tiers.coherent)
        await there.set("k:1", "old", ttl=0.3 if how == "expiry" else 60, tags=["t"])
        await asyncio.sleep(0.3 if how != "expiry" else 0)
        assert await here.get("k:1") == "old"
        assert here.peek("k:1") == "old"  # from memory, without asking
        match how:
            case "set":
                await there.set("k:1", "new", ttl=60)
            case "delete":
                await there.delete("k:1")
            case "pattern":
                await there.invalidate("k:*")
            case "tags":
                await there.invalidate_tags("t")
            case "clear":
                await there.clear()
            case "expiry":
                await asyncio.sleep(0.31)
            case _:
                await link.run(lambda client: client.flushdb())
        await until(lambda: here.peek("k:1") is MISSING, 0.5)
        assert await here.get("k:1") == ("new" if how == "set" else MISSING)


async def test_memory_is_believed_only_while_changes_are_heard(
    proxy: Proxy, proxied_url: str, link: RedisLink
) -> None:
    async with RedisLink(proxied_url) as lossy, Cache(lossy, namespace="t", max_staleness=0.1) as here:
        there = Cache(link, namespace="t")
        await until(lambda: here._tiers.coherent)
        await there.set("k", "old", ttl=60)
        await asyncio.sleep(0.2)  # until that has been heard
        assert await here.get("k") == "old"
        await asyncio.sleep(0.2)
        assert here.peek("k") == "old"
        proxy.drop()
        await until(lambda: not here._tiers.coherent)
        await there.set("k", "new", ttl=60)  # not heard
        await until(lambda: here._tiers.coherent)
        assert await here.get("k") == "new"


@pytest.mark.parametrize("writers", [1, 2])
@pytest.mark.parametrize("seed", range(3))
async def test_nothing_stale_is_left_when_it_is_quiet(link: RedisLink, writers: int, seed: int) -> None:
    rng = random.Random(seed)
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(Cache(link, namespace="t", max_staleness=60)) for _ in range(2)
        ]
        await until(lambda: all(node._tiers.coherent for node in nodes))

        async def work(node: Cache, writes: bool) -> None:
            for _ in range(600):
                key = f"k:{rng.randrange(150)}"
                if writes and rng.random() < 0.5:
                    await node.set(key, rng.random(), ttl=60)
                else:
                    await node.get(key)

        await asyncio.gather(*(work(node, at < writers) for at, node in enumerate(nodes) for _ in range(4)))
        await asyncio.sleep(0.5)
        truth = Cache(link, namespace="t", max_staleness=0)
        stale = [
            key
            for key in (f"k:{number}" for number in range(150))
            for node in nodes
            if await node.get(key) != await truth.get(key)
        ]
        assert stale == []


# -- what may lie in Redis --
@pytest.mark.parametrize(
    "junk", [b"", b"junk", b"pk2\xff\xff\xff\xff", b"pk2\x00\x00\x00\x02[]json;0;0;0;jnull", b"pk2\x00\x00"]
)
async def test_a_foreign_value_is_a_miss(link: RedisLink, junk: bytes) -> None:
    cache, source = Cache(link, namespace="t"), Source()
    await link.run(lambda client: client.set("t:v:k", junk))
    assert await cache.get("k") is MISSING
    assert await cache.get_or_set("k", source.load, ttl=5) == 1
    await link.run(lambda client: client.delete("t:v:k"))
    await link.run(lambda client: client.lpush("t:v:k", "x"))
    cache._memory.clear()
    assert await cache.get("k") is MISSING


@pytest.mark.parametrize("junk", ["list", b"", b"\xff\xfe", b"[1]"])
async def test_whatever_lies_under_the_names_of_the_cache_makes_misses_and_no_errors(
    link: RedisLink, junk: bytes | str
) -> None:
    cache, source = Cache(link, namespace="t", max_staleness=0, coherence=False), Source()
    await cache.set("k", "old", ttl=60, tags=["a"])
    await cache.set("other", "old", ttl=60)
    names = [name async for page in link.scan("t:*") for name in page]
    assert {b"t:g", b"t:b", b"t:t:a", b"t:v:k"} <= set(names)
    for name in (*names, b"t:f:k", b"t:f:other"):  # values, tags, generation, barriers
        await link.execute("DEL", name)
        await link.execute(*(("LPUSH", name, "x") if junk == "list" else ("SET", name, junk)))
    cache._memory.clear()
    assert await cache.get_many(["k", "other"]) == {}
    assert await cache.get("k") is MISSING
    assert await cache.get_or_set("k", source.load, ttl=60, tags=["a"]) == 1
    cache._memory.clear()
    assert await cache.get("k") == 1
    await cache.invalidate_tags("a")
    assert await cache.get("k") is MISSING
    await cache.set("k", 2, ttl=60, tags=["a"])
    await link.execute("DEL", "t:t:a")
    await link.execute("LPUSH", "t:t:a", "x")
    await cache.invalidate_tags("a")
    assert await cache.get("k") is MISSING
    await cache.set("k", 3, ttl=60)
    await cache.invalidate("k*")
    assert await cache.get("k") is MISSING
    await cache.delete("k")
    await cache.clear()


async def test_the_guards_of_an_outage_replace_what_lies_under_their_name(link: RedisLink) -> None:
    cache = Cache(link, namespace="t", max_staleness=0, coherence=False)
    redis = cache._tiers.redis
    assert redis is not None
    for command in (("LPUSH", "t:p", "x"), ("SET", "t:p", b"\xff"), ("SET", "t:p", "7")):
        await redis.prepare()
        await cache.set("k", 1, ttl=60)
        await link.execute("DEL", "t:p")
        await link.execute(*command)
        await redis.guard("token", ["k"])
        assert await cache.get("k") is MISSING
        await redis.release_guard("token")
        assert await link.execute("EXISTS", "t:p") == 0


async def test_a_damaged_payload_is_a_miss(link: RedisLink) -> None:
    cache = Cache(link, namespace="t", max_staleness=0)
    await cache.set("k", {"a": 1}, ttl=5)
    whole = await link.run(lambda client: client.get("t:v:k"))
    assert isinstance(whole, bytes)
    await link.run(lambda client: client.set("t:v:k", whole[:-2]))
    assert await cache.get("k") is MISSING
    assert cache.stats.corrupt == 1


async def test_losing_a_version_brings_nothing_back(link: RedisLink) -> None:
    cache = Cache(link, namespace="t", max_staleness=0, coherence=False)
    await cache.set("k", 1, ttl=5, tags=["a"])
    await cache.set("l", 1, ttl=5)
    await link.run(lambda client: client.delete("t:t:a"))
    assert await cache.get("k") is MISSING
    assert await cache.get("l") == 1
    await link.run(lambda client: client.delete("t:g"))
    assert await cache.get("l") is MISSING


async def test_everything_in_redis_ends(link: RedisLink) -> None:
    cache, source = Cache(link, namespace="t"), Source()
    await cache.set("a", 1, ttl=5, tags=["x"])
    await cache.get_or_set("b", source.load, ttl=200_000, tags=["y"])
    await cache.delete("c")

    async def lives(client: Any) -> Any:
        return {name: await client.pttl(name) for name in await client.keys("*")}

    found = await link.run(lives)
    assert {name for name, left in found.items() if left == -1} == {b"t:g", b"t:b"}
    assert found[b"t:t:y"] >= found[b"t:v:b"] - 50  # they are read one after the other


@pytest.mark.parametrize("seed", range(4))
async def test_patterns_mean_the_same_in_memory_and_redis(link: RedisLink, seed: int) -> None:
    rng = random.Random(seed)
    letters = ["a", "b", "c", "z", "-", "^", "]", "[", "*", "?", "\\", "ç", "\n"]
    names = {"".join(rng.choices(letters, k=rng.randint(1, 5))) for _ in range(150)}
    await link.run(lambda client: client.mset(dict.fromkeys(names, "1")))
    syntax = [
        "*",
        "?",
        "[a-c]",
        "[^a]",
        "[z-a]",
        "[",
        "[]",
        "[^]",
        "[\\]]",
        "[a",
        "\\*",
        "\\",
        "[a-",
        "[a-]",
        *letters,
    ]
    for _ in range(150):
        pattern = "".join(rng.choices(syntax, k=rng.randint(1, 4)))
        try:
            compiled(pattern)
        except ValueError:
            assert "ç" in pattern
            continue
        there = set(await link.run(lambda client: client.keys(pattern)))  # noqa: B023
        here = {name.encode() for name in names if compiled(pattern).fullmatch(name.encode())}
        assert here == there, pattern
    for name in names:
        assert [each for each in names if compiled(escape(name)).fullmatch(each.encode())] == [name]


async def test_a_pattern_ends_while_others_write(link: RedisLink) -> None:
    cache = Cache(link, namespace="t")
    stop = asyncio.Event()

    async def write(number: int) -> None:
        at = 0
        while not stop.is_set():
            at += 1
            await cache.set(f"k:{number}:{at}", 1, ttl=60)

    writers = [asyncio.ensure_future(write(number)) for number in range(3)]
    await asyncio.sleep(0.2)
    async with asyncio.timeout(5):
        assert await cache.invalidate("k:*") > 0
    stop.set()
    await asyncio.gather(*writers)


# -- outages --
async def test_it_goes_on_in_memory_and_nothing_old_comes_back(
    proxy: Proxy, proxied_url: str, link: RedisLink
) -> None:
    async with RedisLink(proxied_url) as lossy, Cache(lossy, namespace="t", max_staleness=0) as cache:
        source = Source()
        for number in range(1000):
            await cache.set(f"d:{number}", "old", ttl=60)
        await cache.set("tag", "old", ttl=60, tags=["x"])
        await cache.set("p:1", "old", ttl=60)
        await cache.set("kept", "kept", ttl=60)
        proxy.refuse()
        assert await cache.get("kept") == "kept"
        for number in range(1000):
            await cache.delete(f"d:{number}")
        await cache.invalidate_tags("x")
        await cache.invalidate("p:*")
        await cache.set("set", "new", ttl=60)
        assert await cache.get_or_set("loaded", source.load, ttl=60) == 1
        assert await cache.get_or_set("loaded", source.load, ttl=60) == 1
        assert await cache.get("set") == "new"
        check = await cache.check()
        assert check.status == "degraded"
        assert check.details["outage_log"] == 1003
        proxy.heal()
        await until(lambda: lossy.up)
        assert (await cache.check()).details["outage_log"] == 0
        old = [n for n in range(1000) if await cache.get(f"d:{n}") is not MISSING]
        assert old == []
        assert await cache.get("tag") is MISSING
        assert await cache.get("p:1") is MISSING
        assert await cache.get("kept") == "kept"
        assert await Cache(link, namespace="t").get("d:1") is MISSING


async def test_a_full_journal_drops_everything(proxy: Proxy, proxied_url: str) -> None:
    async with (
        RedisLink(proxied_url) as lossy,
        Cache(lossy, namespace="t", outage_log=5, max_staleness=0) as cache,
    ):
        await cache.set("a", "old", ttl=60)
        proxy.refuse()
        for number in range(10):
            await cache.delete(f"other:{number}")
        proxy.heal()
        await until(lambda: lossy.up)
        assert await cache.get("a") is MISSING


async def test_a_cancelled_delete_is_not_lost(proxy: Proxy, proxied_url: str) -> None:
    async with (
        RedisLink(proxied_url, timeout=2) as lossy,
        Cache(lossy, namespace="t", max_staleness=0) as cache,
    ):
        await cache.set("k", "old", ttl=60)
        proxy.stall()
        task = asyncio.ensure_future(cache.delete("k"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        proxy.heal()
        assert await cache.get("k") is MISSING


async def test_a_black_hole_delays_the_first_readers_only(proxy: Proxy, proxied_url: str) -> None:
    async with RedisLink(proxied_url) as lossy, Cache(lossy, namespace="t", max_staleness=0) as cache:
        await cache.set("k", 1, ttl=60)
        proxy.stall()
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert await asyncio.gather(*(cache.get("k") for _ in range(50))) == [1] * 50
        assert loop.time() - started < 0.6
        started = loop.time()
        for _ in range(100):
            assert await cache.get("k") == 1
        assert loop.time() - started < 0.05


async def test_a_read_in_a_batch_keeps_its_own_deadline(proxy: Proxy, proxied_url: str) -> None:
    async with RedisLink(proxied_url, timeout=2) as lossy:
        cache = Cache(lossy, namespace="t", max_staleness=0, coherence=False)
        await cache.set("k", 1, ttl=60)
        proxy.delay(0.4)

        async def hurried() -> Any:
            with Deadline.after(0.05):
                return await cache.get("k")

        began = asyncio.get_running_loop().time()
        late = asyncio.ensure_future(hurried())
        first, patient, cancelled = (asyncio.ensure_future(cache.get("k")) for _ in range(3))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        await asyncio.wait((late,))
        assert isinstance(late.exception(), DeadlineExceededError)
        assert asyncio.get_running_loop().time() - began < 0.35
        assert [await first, await patient] == [1, 1]


async def test_tags_of_many_values_are_compared_together(link: RedisLink) -> None:
    cache = Cache(link, namespace="t", max_staleness=0, coherence=False)
    for number in range(40):
        await cache.set(f"k{number}", number, ttl=60, tags=[f"t{number % 4}", f"u{number}"])
    await cache.invalidate_tags("t1")
    before = await link.execute("INFO", "commandstats")
    found = await cache.get_many(f"k{number}" for number in range(40))
    after = await link.execute("INFO", "commandstats")
    assert found == {f"k{number}": number for number in range(40) if number % 4 != 1}
    calls = [
        int(each.partition(b"cmdstat_mget:calls=")[2].partition(b",")[0] or 0) for each in (before, after)
    ]
    assert calls[1] - calls[0] <= 2  # the values, and the versions of all their tags


@pytest.mark.parametrize("tags", [("b", "a"), ("key:1", "key"), ("z", "a", "m", "a")])
async def test_a_load_is_stored_whatever_the_order_of_its_tags(
    link: RedisLink, tags: tuple[str, ...]
) -> None:
    cache, source = Cache(link, namespace="t", max_staleness=0, coherence=False), Source()
    for _ in range(2):
        assert await cache.get_or_set("k", source.load, ttl=60, tags=tags) == 1
    assert await cache.load_many(["m"], lambda _: {"m": 1}, ttl=60, tags=tags) == {"m": 1}
    assert await cache.load_many(["m"], lambda _: {"m": 2}, ttl=60, tags=tags) == {"m": 1}
    await cache.invalidate_tags(tags[0])
    assert await cache.get_or_set("k", source.load, ttl=60, tags=tags) == 2


async def test_a_value_that_has_not_changed_is_not_decoded_again(link: RedisLink) -> None:
    class Counted(JsonCodec):
        decoded = 0

        def decode(self, payload: bytes) -> Any:
            self.decoded += 1
            return super().decode(payload)

    codec = Counted()
    cache = Cache(link, namespace="t", max_staleness=0, coherence=False, codec=codec, copy="never")
    other = Cache(link, namespace="t", max_staleness=0, coherence=False)
    await other.set_many({f"k{n}": n for n in range(3)}, ttl=60)
    for _ in range(4):
        assert await cache.get("k0") == 0
        assert await asyncio.gather(*(cache.get(f"k{n}") for n in range(3))) == [0, 1, 2]
    assert codec.decoded == 3
    await other.set("k1", "new", ttl=0.3)
    assert await cache.get_many(["k0", "k1", "k2"]) == {"k0": 0, "k1": "new", "k2": 2}
    assert codec.decoded == 4
    await other.set("k2", 2, ttl=60, tags=["t"])
    assert await cache.get("k2") == 2
    await other.invalidate_tags("t")
    assert await cache.get("k2") is MISSING
    await asyncio.sleep(0.35)
    assert await cache.get("k1") is MISSING
    await other.clear()
    assert await cache.get_many(["k0", "k1", "k2"]) == {}


async def test_one_bad_key_spoils_nothing_for_the_others(cache: Cache) -> None:
    for key in (None, 5, b"k", ""):
        with pytest.raises(TypeError):
            await cache.set(key, 1, ttl=5)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await cache.delete(key)  # type: ignore[arg-type]
    await cache.set("a\ud800", 1, ttl=5)  # JSON from outside may hold such a text
    assert await cache.get("a\ud800") == 1
    assert await cache.delete("a\ud800")
    await cache.set("good", 1, ttl=5)
    assert await cache.get("good") == 1


async def test_a_counter_survives_what_redis_refuses(link: RedisLink) -> None:
    views = counter(link, "views", ttl=0.0005)
    assert await views.increment() == 1
    await asyncio.sleep(0.02)
    assert await views.value() == 0
    forever = counter(link, "forever", ttl=FOREVER)
    await link.execute("SET", "~counter:c:forever", str(2**63 - 2))
    with pytest.raises(Exception, match="increment"):
        await forever.increment(5)
    await forever.reset()
    assert await forever.increment() == 1
