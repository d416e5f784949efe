from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from prodkit.cache import FOREVER, MISSING, Cache, CacheLoaded, CacheRefreshFailed
from prodkit.core.deadline import Deadline
from prodkit.core.runtime import Runtime
from prodkit.errors import CallTimeoutError, DeadlineExceededError, UnavailableError
from prodkit.testing.loop import virtual_time


class Source:
    """A thing to load from, that counts."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls = 0
        self.seconds = seconds
        self.error: BaseException | None = None

    async def load(self) -> int:
        self.calls += 1
        call = self.calls
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return call


@virtual_time
async def test_values_that_are_false_are_values() -> None:
    cache = Cache(namespace="t")
    for value in (None, 0, "", False, [], {}, 0.0):
        await cache.set("k", value, ttl=1)
        assert await cache.get("k") == value
        assert await cache.get("k") is not MISSING
    assert await cache.get("other") is MISSING
    assert await cache.get("other", 7) == 7
    source = Source()
    await cache.set("none", None, ttl=1)
    assert await cache.get_or_set("none", source.load, ttl=1) is None
    assert source.calls == 0


@virtual_time
async def test_ttl() -> None:
    cache = Cache(namespace="t")
    await cache.set("a", 1, ttl=10)
    await cache.set("b", 1, ttl=timedelta(minutes=1))
    await cache.set("c", 1, ttl=FOREVER)
    await asyncio.sleep(9.9)
    assert await cache.get("a") == 1
    await cache.set("a", 2, ttl=1)  # the new ttl replaces the old one
    await asyncio.sleep(1.1)
    assert await cache.get("a") is MISSING
    await asyncio.sleep(50)
    assert await cache.get("b") is MISSING
    await asyncio.sleep(1e6)
    assert await cache.get("c") == 1


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), True, "1", None, timedelta(0)])
@virtual_time
async def test_a_ttl_that_means_nothing_is_refused(ttl: Any) -> None:
    cache, source = Cache(namespace="t"), Source()
    with pytest.raises(ValueError, match="ttl"):
        await cache.set("k", 1, ttl=ttl)
    with pytest.raises(ValueError, match="ttl"):
        await cache.get_or_set("k", source.load, ttl=ttl)
    assert source.calls == 0


@virtual_time
async def test_staleness_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="stale"):
        await Cache(namespace="t").set("k", 1, ttl=1, stale=FOREVER)  # type: ignore[arg-type]


@virtual_time
async def test_jitter_only_shortens() -> None:
    cache = Cache(namespace="t", runtime=Runtime(rng=Random(5)))
    for number in range(200):
        await cache.set(str(number), 1, ttl=100, jitter=0.2)
    await asyncio.sleep(79.9)
    assert len([1 for n in range(200) if await cache.get(str(n)) == 1]) == 200
    await asyncio.sleep(10.1)
    assert 50 < len([1 for n in range(200) if await cache.get(str(n)) == 1]) < 150
    await asyncio.sleep(10)
    assert not [1 for n in range(200) if await cache.get(str(n)) == 1]


@virtual_time
async def test_readers_have_copies_of_their_own() -> None:
    cache = Cache(namespace="t")
    original = {"a": [1]}
    await cache.set("k", original, ttl=10)
    original["a"].append(2)
    first = await cache.get("k")
    assert first == {"a": [1]}
    first["a"].append(3)
    assert await cache.get("k") == {"a": [1]}
    loaded = await cache.get_or_set("l", lambda: {"x": (1, 2)}, ttl=10)
    assert loaded == {"x": [1, 2]} == await cache.get("l")  # what is read first is what is read later


@virtual_time
async def test_what_cannot_be_stored_stores_nothing() -> None:
    cache = Cache(namespace="t")
    await cache.set("k", 1, ttl=10)
    for bad in (object(), {1: 2}, {"a": {1, 2}}, float("nan"), {"$pk": "b", "x": b""}):
        with pytest.raises(TypeError, match="cache"):
            await cache.set("k", bad, ttl=10)
    assert await cache.get("k") == 1


@virtual_time
async def test_one_load_for_200() -> None:
    cache, source = Cache(namespace="t"), Source(1.0)
    values = await asyncio.gather(*(cache.get_or_set("k", source.load, ttl=60) for _ in range(200)))
    assert values == [1] * 200
    assert source.calls == 1


@virtual_time
async def test_a_cancelled_leader_takes_nothing_from_the_others() -> None:
    cache, source = Cache(namespace="t"), Source(1.0)
    tasks = [asyncio.ensure_future(cache.get_or_set("k", source.load, ttl=60)) for _ in range(200)]
    await asyncio.sleep(0.5)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [1] * 199
    assert source.calls == 1


@virtual_time
async def test_when_all_have_left_the_load_is_cancelled() -> None:
    cache, ended = Cache(namespace="t"), list[str]()

    async def load() -> int:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return 1

    tasks = [asyncio.ensure_future(cache.get_or_set("k", load, ttl=60)) for _ in range(3)]
    await asyncio.sleep(1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)
    assert ended == ["cancelled"]


@virtual_time
async def test_each_caller_waits_for_its_own_deadline() -> None:
    cache, source = Cache(namespace="t"), Source(2.0)

    async def hasty() -> Any:
        with Deadline.after(1):
            return await cache.get_or_set("k", source.load, ttl=60)

    first, second = await asyncio.gather(
        hasty(), cache.get_or_set("k", source.load, ttl=60), return_exceptions=True
    )
    assert isinstance(first, DeadlineExceededError)
    assert second == 1
    assert source.calls == 1


@virtual_time
async def test_errors_reach_everybody_and_are_not_cached() -> None:
    cache, source = Cache(namespace="t"), Source(1.0)
    source.error = LookupError("gone")
    results = await asyncio.gather(
        *(cache.get_or_set("k", source.load, ttl=60) for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(each, LookupError) for each in results)
    source.error = None
    assert await cache.get_or_set("k", source.load, ttl=60) == 2


@virtual_time
async def test_a_load_that_cancels_itself_cancels_no_other_caller() -> None:
    cache, source = Cache(namespace="t"), Source()
    source.error = asyncio.CancelledError()
    with pytest.raises(UnavailableError, match="cancelled from inside"):
        await cache.get_or_set("k", source.load, ttl=60)


@virtual_time
async def test_a_load_that_waits_for_itself_raises() -> None:
    cache = Cache(namespace="t")

    async def inner() -> Any:
        return await cache.get_or_set("a", outer, ttl=60)

    async def outer() -> Any:
        return await cache.get_or_set("b", inner, ttl=60)

    with pytest.raises(RuntimeError, match="asks for 'a' itself"):
        await cache.get_or_set("a", outer, ttl=60)


@virtual_time
async def test_a_load_has_a_limit() -> None:
    cache, source = Cache(namespace="t"), Source(10)
    with pytest.raises(CallTimeoutError):
        await cache.get_or_set("k", source.load, ttl=60, timeout=1)
    assert asyncio.get_running_loop().time() == pytest.approx(1)


@pytest.mark.parametrize("how", ["delete", "pattern", "tags", "clear", "set"])
@virtual_time
async def test_what_is_invalidated_while_it_loads_is_not_stored(how: str) -> None:
    cache, source = Cache(namespace="t"), Source(1.0)
    before = asyncio.ensure_future(cache.get_or_set("k:1", source.load, ttl=60, tags=["t"]))
    await asyncio.sleep(0.5)
    match how:
        case "delete":
            await cache.delete("k:1")
        case "pattern":
            await cache.invalidate("k:*")
        case "tags":
            await cache.invalidate_tags("t")
        case "clear":
            await cache.clear()
        case _:
            await cache.set("k:1", "new", ttl=60)
    after = asyncio.ensure_future(cache.get_or_set("k:1", source.load, ttl=60, tags=["t"]))
    assert await before == 1
    expected = "new" if how == "set" else 2
    assert await after == expected
    assert await cache.get("k:1") == expected


@virtual_time
async def test_stale_is_served_while_one_refresh_runs() -> None:
    cache, source = Cache(namespace="t"), Source(1.0)
    assert await cache.get_or_set("k", source.load, ttl=10, stale=60) == 1
    await asyncio.sleep(11)
    assert await cache.get("k") is MISSING  # get answers only with what is fresh
    started = asyncio.get_running_loop().time()
    values = [await cache.get_or_set("k", source.load, ttl=10, stale=60) for _ in range(20)]
    assert values == [1] * 20
    assert asyncio.get_running_loop().time() == started
    await asyncio.sleep(1.1)
    assert await cache.get_or_set("k", source.load, ttl=10, stale=60) == 2
    assert source.calls == 2
    await asyncio.sleep(75)
    assert await cache.get_or_set("k", source.load, ttl=10, stale=60) == 3


@virtual_time
async def test_a_failed_refresh_keeps_the_value_and_waits_longer_each_time() -> None:
    runtime, failures = Runtime(), list[Any]()
    runtime.events.subscribe(failures.append, CacheRefreshFailed)
    cache, source = Cache(namespace="t", runtime=runtime), Source()
    await cache.get_or_set("k", source.load, ttl=10, stale=600)
    source.error = OSError("down")
    await asyncio.sleep(11)
    for _ in range(1000):
        assert await cache.get_or_set("k", source.load, ttl=10, stale=600) == 1
        await asyncio.sleep(0.1)
    assert 6 <= len(failures) <= 9
    assert [event.error for event in failures][:1] == ["OSError"]
    source.error = None
    await asyncio.sleep(60)
    await cache.get_or_set("k", source.load, ttl=10, stale=600)
    await asyncio.sleep(0.1)
    assert await cache.get_or_set("k", source.load, ttl=10, stale=600) == source.calls


@virtual_time
async def test_eager_refreshes_before_the_end() -> None:
    cache, source = Cache(namespace="t", runtime=Runtime(rng=Random(3))), Source(2.0)
    await cache.get_or_set("k", source.load, ttl=60, eager=1.0)
    waited = 0.0
    for _ in range(600):
        started = asyncio.get_running_loop().time()
        await cache.get_or_set("k", source.load, ttl=60, eager=1.0)
        waited += asyncio.get_running_loop().time() - started
        await asyncio.sleep(0.5)
    assert waited <= 1  # without eager each of the loads would have cost a caller 2 s
    assert source.calls <= 10


@virtual_time
async def test_tags() -> None:
    cache = Cache(namespace="t")
    await cache.set("a", 1, ttl=60, tags=["u:1", "x"])
    await cache.set("b", 2, ttl=60, tags=["u:2", "x"])
    await cache.set("c", 3, ttl=60)
    await cache.invalidate_tags("u:1")
    assert [await cache.get(key, None) for key in "abc"] == [None, 2, 3]
    await cache.invalidate_tags("x", "unknown")
    assert [await cache.get(key, None) for key in "abc"] == [None, None, 3]
    with pytest.raises(TypeError, match="single text"):
        await cache.set("a", 1, ttl=1, tags="u:1")
    with pytest.raises(TypeError, match="not empty"):
        await cache.invalidate_tags("")


@virtual_time
async def test_delete_and_patterns_count() -> None:
    cache = Cache(namespace="t")
    for key in ("a:1", "a:2", "b:1", "a*"):
        await cache.set(key, 1, ttl=60)
    assert await cache.delete("b:1")
    assert not await cache.delete("b:1")
    assert await cache.invalidate("a:?") == 2
    assert await cache.get("a*") == 1
    await cache.clear()
    assert await cache.get("a*") is MISSING


@virtual_time
async def test_memory_is_bounded_by_entries_and_bytes() -> None:
    cache = Cache(namespace="t", l1_entries=10)
    for number in range(30):
        await cache.set(str(number), number, ttl=60)
        assert await cache.get("0") == (0 if number < 30 else None)  # what is used stays
    assert (await cache.check()).details["entries"] == 10
    small = Cache(namespace="t", l1_bytes=10_000)
    for number in range(30):
        await small.set(str(number), "x" * 1000, ttl=60)
    assert int(str((await small.check()).details["bytes"])) <= 10_000
    await small.set("huge", "x" * 20_000, ttl=60)
    assert await small.get("huge") is MISSING


@virtual_time
async def test_the_decorator() -> None:
    cache, calls = Cache(namespace="t"), list[Any]()

    @cache.cached(ttl=60, tags=lambda question, user=1: [f"u:{user}"])
    async def answer(question: str, user: int = 1) -> str:
        """Answers."""
        calls.append((question, user))
        return f"{question}{user}"

    assert answer.__doc__ == "Answers."
    assert await answer("a") == await answer("a", 1) == await answer(question="a", user=1) == "a1"
    assert await answer("a", 2) == "a2"
    assert calls == [("a", 1), ("a", 2)]
    assert await cache.get(answer.key_for("a")) == "a1"
    assert await answer.invalidate("a")
    await answer("a")
    assert await answer.refresh("a", user=2) == "a2"
    assert len(calls) == 4
    await cache.invalidate_tags("u:1")
    await answer("a")
    assert len(calls) == 5


@virtual_time
async def test_the_decorator_distinguishes_types() -> None:
    cache = Cache(namespace="t")

    @cache.cached(ttl=60)
    async def kind(value: object, *rest: object, **named: object) -> str:
        return repr((value, rest, named))

    for _ in range(2):
        for value in (1, True, "1", b"1", None, 1.0, (1,), (True,), [1]):
            assert await kind(value) == repr((value, (), {}))
            assert await kind(0, value) == repr((0, (value,), {}))
            assert await kind(0, a=value) == repr((0, (), {"a": value}))


def test_what_the_decorator_refuses() -> None:
    cache = Cache(namespace="t")
    with pytest.raises(TypeError, match="async function"):
        cache.cached(ttl=1)(7)  # type: ignore[arg-type]

    class Thing:
        async def method(self) -> int:
            return 1

    with pytest.raises(TypeError, match="key="):
        cache.cached(ttl=1)(Thing.method)


@virtual_time
async def test_closing_ends_what_loads() -> None:
    cache, source = Cache(namespace="t"), Source(60)
    async with cache:
        task = asyncio.ensure_future(cache.get_or_set("k", source.load, ttl=60))
        await asyncio.sleep(1)
    with pytest.raises(UnavailableError):
        await task


@virtual_time
async def test_loads_emit_events() -> None:
    runtime, seen = Runtime(), list[Any]()
    runtime.events.subscribe(seen.append)
    cache, source = Cache(namespace="t", runtime=runtime), Source(2.0)
    await cache.get_or_set("k", source.load, ttl=60)
    await cache.get_or_set("k", source.load, ttl=60)
    assert [event.name for event in seen] == ["cache.missed", "cache.loaded", "cache.hit"]
    assert next(event for event in seen if isinstance(event, CacheLoaded)).seconds == pytest.approx(2)


@pytest.mark.parametrize("namespace", ["", "a:b", "a b", "a*"])
def test_a_namespace_is_a_plain_word(namespace: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        Cache(namespace=namespace)


KEYS: list[Any] = ["", None, 5, b"k", 1.5, ["k"]]


@pytest.mark.parametrize("key", KEYS)
async def test_a_key_is_a_text_for_every_method(key: Any) -> None:
    cache = Cache(namespace="t")
    calls: list[Awaitable[Any]] = [
        cache.set(key, 1, ttl=5),
        cache.get_or_set(key, lambda: 1, ttl=5),
        cache.delete(key),
        cache.get_many([key]),
        cache.load_many([key], lambda keys: dict.fromkeys(keys, 1), ttl=5),
    ]
    if key != ["k"]:  # which no dictionary takes
        calls += [cache.get(key), cache.set_many({"a": 1, key: 2}, ttl=5), cache.delete_many("a", key)]
    for call in calls:
        with pytest.raises(TypeError):
            await call
    assert await cache.get("a") is MISSING


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": math.nan},
        {"timeout": True},
        {"timeout": "1"},
        {"soft_timeout": -1},
        {"hard_timeout": 0},
        {"hard_timeout": math.inf},
        {"eager": -1},
        {"eager": math.nan},
        {"when": 5},
        {"scope": "everywhere"},
        {"negative": KeyError},
        {"negative": {"KeyError": 5}},
        {"negative": {BaseException: 5}},
        {"negative": {asyncio.CancelledError: 5}},
        {"negative": {KeyError: 0}},
        {"stale": -1},
        {"jitter": 1},
        {"ttl": 0},
        {"ttl": 1e300},
    ],
)
async def test_wrong_arguments_are_refused_before_the_load_and_when_decorating(
    options: dict[str, Any],
) -> None:
    cache, loads = Cache(namespace="t"), 0

    def load() -> int:
        nonlocal loads
        loads += 1
        return 1

    with pytest.raises((ValueError, TypeError)):
        await cache.get_or_set("k", load, **({"ttl": 5} | options))
    with pytest.raises((ValueError, TypeError)):
        cache.cached(**({"ttl": 5} | options))
    assert loads == 0


async def test_a_coroutine_instead_of_a_function() -> None:
    cache = Cache(namespace="t")

    async def load() -> int:
        return 1

    with pytest.raises(TypeError, match="pass the function"):
        await cache.get_or_set("k", load(), ttl=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mapping"):
        await cache.load_many(["k"], lambda _: [1], ttl=5)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="mapping"):
        await cache.set_many([("k", 1)], ttl=5)  # type: ignore[arg-type]
