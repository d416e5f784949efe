"""One load for all processes, and locks between them, with real processes that are killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from tests.stalls import Stopwatch

from prodkit import cache
from prodkit.errors import LockHeldError, LockLostError, RedisError
from prodkit.redis import RedisLink
from prodkit.testing.proxy import Proxy

pytestmark = pytest.mark.integration

WORKER = """
import asyncio, json, os, sys, time
from prodkit.cache import Cache
from prodkit.redis import RedisLink

async def main(url, callers, seconds):
    async with RedisLink(url, timeout=10, connect_timeout=10) as link:
        counted = RedisLink(url, timeout=10, connect_timeout=10)
        answers = Cache(link, namespace="w")
        async def load():
            await counted.execute("RPUSH", "loads", os.getpid())
            await asyncio.sleep(seconds)
            return "value"
        print("ready", flush=True)
        sys.stdin.readline()
        found = await asyncio.gather(
            *(answers.get_or_set("k", load, ttl=60, scope="cluster") for _ in range(callers)))
        print(json.dumps(sorted(set(found))), flush=True)
        await counted.aclose()

asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
"""


def start(url: str, callers: int, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, url, str(callers), str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


async def test_four_processes_load_once(redis_url: str) -> None:
    processes = [await asyncio.to_thread(start, redis_url, 50, 0.5) for _ in range(4)]
    for process in processes:
        go(process)
    for process in processes:
        out, _ = await asyncio.to_thread(process.communicate, timeout=20)
        assert json.loads(out) == ["value"]
    async with RedisLink(redis_url, timeout=10, connect_timeout=10) as link:
        assert await link.execute("LLEN", "loads") == 1


async def test_a_killed_leader_is_replaced_by_one(redis_url: str) -> None:
    processes = {
        each.pid: each for each in [await asyncio.to_thread(start, redis_url, 20, 0.8) for _ in range(3)]
    }
    async with RedisLink(redis_url, timeout=10, connect_timeout=10) as link:
        for process in processes.values():
            go(process)
        while not await link.execute("LLEN", "loads"):
            await asyncio.sleep(0.01)
        (leader,) = map(int, await link.execute("LRANGE", "loads", 0, -1))
        os.kill(leader, signal.SIGKILL)
        with Stopwatch() as since_killed:
            for pid, process in processes.items():
                out, _ = await asyncio.to_thread(process.communicate, timeout=20)
                if pid != leader:
                    assert json.loads(out) == ["value"]
            assert since_killed.seconds < 3
        assert await link.execute("LLEN", "loads") == 2


async def test_a_paused_leader_cannot_store(redis_url: str) -> None:
    async with RedisLink(redis_url, timeout=10, connect_timeout=10) as link:
        here = cache.Cache(link, namespace="w", max_staleness=0)
        process = await asyncio.to_thread(start, redis_url, 1, 0.3)
        go(process)
        while not await link.execute("LLEN", "loads"):
            await asyncio.sleep(0.01)
        os.kill(process.pid, signal.SIGSTOP)
        assert await here.get_or_set("k", lambda: "ours", ttl=60, scope="cluster") == "ours"
        os.kill(process.pid, signal.SIGCONT)
        out, _ = await asyncio.to_thread(process.communicate, timeout=20)
        assert json.loads(out) == ["value"]
        assert await here.get("k") == "ours"


async def test_a_lock_excludes_and_its_token_grows(redis_url: str) -> None:
    async with (
        RedisLink(redis_url, timeout=10, connect_timeout=10) as one,
        RedisLink(redis_url, timeout=10, connect_timeout=10) as other,
    ):
        inside, most, tokens = 0, 0, list[int]()

        async def work(link: RedisLink) -> None:
            nonlocal inside, most
            async with cache.Lock(link, "x", lease=2) as lock:
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.01)
                tokens.append(lock.token)
                inside -= 1

        await asyncio.gather(*(work(link) for link in (one, other) * 10))
        assert most == 1
        assert tokens == sorted(set(tokens))
        async with cache.Lock(one, "x"):
            with pytest.raises(LockHeldError) as caught:
                await cache.Lock(other, "x").acquire(wait=0.1)
            assert caught.value.retry_after is not None


async def test_the_watchdog_keeps_a_lock(redis_url: str) -> None:
    async with (
        RedisLink(redis_url, timeout=10, connect_timeout=10) as link,
        cache.Lock(link, "x", lease=3) as lock,
    ):
        await asyncio.sleep(4)
        assert lock.held
        with pytest.raises(LockHeldError):
            await cache.Lock(link, "x").acquire(wait=0)


async def test_a_lost_lease_ends_the_body(proxy: Proxy, proxied_url: str, redis_url: str) -> None:
    async with (
        RedisLink(proxied_url, timeout=2, connect_timeout=10) as lossy,
        RedisLink(redis_url, timeout=10, connect_timeout=10) as other,
    ):
        reached = False
        with pytest.raises(LockLostError):
            async with cache.Lock(lossy, "x", lease=0.5):
                proxy.stall()
                await asyncio.sleep(5)
                reached = True
        assert not reached
        proxy.heal()
        async with cache.Lock(other, "x", wait=10):
            pass
    proxy.refuse()
    async with RedisLink(proxied_url) as down:
        with pytest.raises(RedisError):
            await cache.Lock(down, "x").acquire()


async def test_a_counter_goes_on_during_an_outage(proxy: Proxy, proxied_url: str, redis_url: str) -> None:
    async with (
        RedisLink(proxied_url, timeout=10, connect_timeout=10) as lossy,
        RedisLink(redis_url, timeout=10, connect_timeout=10) as direct,
    ):
        here, there = cache.counter(lossy, "views", ttl=60), cache.counter(direct, "views", ttl=60)
        assert await here.increment(2) == 2
        proxy.refuse()
        assert [await here.increment() for _ in range(3)] == [3, 4, 5]
        assert await there.increment() == 3
        proxy.heal()
        async with asyncio.timeout(5):
            while not lossy.up:
                await asyncio.sleep(0.01)
        assert await here.value() == 6
        assert await there.value() == 6


async def test_a_second_loop_connects_again(redis_url: str) -> None:
    link = RedisLink(redis_url, timeout=10, connect_timeout=10)
    shared = cache.Cache(link, namespace="loops", coherence=False)

    async def use(value: Any) -> Any:
        await link.start()
        await shared.set("k", value, ttl=60)
        found = await shared.get("k")
        await link.aclose()
        return found

    assert await asyncio.to_thread(lambda: asyncio.run(use(1))) == 1
    assert await asyncio.to_thread(lambda: asyncio.run(use(2))) == 2
    async with RedisLink(redis_url, timeout=10, connect_timeout=10) as busy:
        await busy.execute("PING")
        with pytest.raises(RuntimeError, match="one link per loop"):
            await asyncio.to_thread(lambda: asyncio.run(busy.execute("PING")))
