"""The channel over a real Redis: two processes' worth of channels, outages, restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from prodkit.progress import Channel, Progress
from prodkit.redis import RedisLink
from prodkit.testing.servers import Redis

pytestmark = pytest.mark.integration


@pytest.fixture
async def links(redis_url: str) -> AsyncIterator[tuple[RedisLink, RedisLink]]:
    async with (
        RedisLink(redis_url, timeout=10, connect_timeout=10) as one,
        RedisLink(redis_url, timeout=10, connect_timeout=10) as two,
    ):
        yield one, two


async def take(events: AsyncIterator[Progress], count: int) -> list[Progress]:
    async with asyncio.timeout(10):
        return [await anext(events) for _ in range(count)]


async def test_another_process_follows_and_replays(links: tuple[RedisLink, RedisLink]) -> None:
    worker, page = (Channel(link, poll=0.05) for link in links)
    follower = page.subscribe("run:7", until={"done"})
    first = asyncio.create_task(take(follower, 2))
    await asyncio.sleep(0.1)
    await worker.publish("run:7", "seat.done", {"n": 1, "text": "ção\n🎉"})
    await worker.publish("run:7", "done")
    assert await first == [Progress(1, "seat.done", {"n": 1, "text": "ção\n🎉"}), Progress(2, "done", None)]
    assert await anext(follower, None) is None
    again = page.subscribe("run:7", after=1)
    assert (await take(again, 1))[0].name == "done"
    await again.aclose()


async def test_two_publishers_share_one_numbering(links: tuple[RedisLink, RedisLink]) -> None:
    one, two = (Channel(link, poll=0.05) for link in links)
    events = await asyncio.gather(*(channel.publish("t", "x") for channel in (one, two) * 50))
    assert sorted(event.id for event in events) == list(range(1, 101))
    follower = one.subscribe("t")
    assert [event.id for event in await take(follower, 100)] == list(range(1, 101))
    await follower.aclose()


async def test_what_was_trimmed_is_one_resync(links: tuple[RedisLink, RedisLink]) -> None:
    channel = Channel(links[0], keep=5)
    for _ in range(30):
        await channel.publish("t", "x")
    follower = channel.subscribe("t", after=3)
    assert (await take(follower, 1)) == [Progress(30, "resync", None)]
    await channel.publish("t", "x")
    assert (await take(follower, 1))[0].id == 31
    await follower.aclose()


async def test_topics_expire(links: tuple[RedisLink, RedisLink]) -> None:
    channel = Channel(links[0], ttl=0.1)
    await channel.publish("t", "x")
    assert await links[0].run(lambda client: client.exists("progress:{t}")) == 1
    await asyncio.sleep(0.2)
    assert await links[0].run(lambda client: client.exists("progress:{t}")) == 0


async def test_without_redis_the_process_continues_and_restores_for_the_others(
    links: tuple[RedisLink, RedisLink],
) -> None:
    one, two = (Channel(link) for link in links)
    here, there = one.subscribe("t"), two.subscribe("t")
    await one.publish("t", "x")
    assert [e.id for e in await take(here, 1)] == [1]
    assert [e.id for e in await take(there, 1)] == [1]
    await links[0].aclose()  # this process has lost Redis
    for _ in range(3):
        await one.publish("t", "x")
    assert [e.id for e in await take(here, 3)] == [2, 3, 4]
    await links[0].start()
    assert (await one.publish("t", "x")).id == 5  # the numbering continued
    assert [e.id for e in await take(here, 1)] == [5]
    assert [e.id for e in await take(there, 4)] == [2, 3, 4, 5]  # nothing is missed
    await one.publish("t", "x")
    assert [e.id for e in await take(there, 1)] == [6]
    await here.aclose()
    await there.aclose()


async def test_a_number_taken_by_two_processes_during_an_outage_loses_no_event(
    links: tuple[RedisLink, RedisLink],
) -> None:
    one, two = (Channel(link) for link in links)
    await one.publish("t", "start")
    await links[0].aclose()
    await one.publish("t", "mine", 1)
    await one.publish("t", "done")
    await two.publish("t", "other", 2)
    await links[0].start()
    await one.publish("u", "x")
    await one.publish("t", "late")
    events = two.subscribe("t")
    found = await take(events, 5)
    assert [e.id for e in found] == [1, 2, 3, 4, 5]
    assert sorted(e.name for e in found) == ["done", "late", "mine", "other", "start"]
    await events.aclose()


async def test_idle_followers_ask_nothing_and_another_process_delivers_at_once(
    links: tuple[RedisLink, RedisLink],
) -> None:
    here, there = (Channel(link) for link in links)

    async def follow(number: int) -> list[float]:
        found = []
        async for event in here.subscribe(f"t{number % 10}", until={"done"}):
            found.append(asyncio.get_running_loop().time() - event.data)
        return found

    async def calls() -> int:
        stats = await links[1].run(lambda client: client.info("commandstats"))
        return sum(int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("evalsha", "eval"))

    followers = [asyncio.create_task(follow(number)) for number in range(300)]
    await asyncio.sleep(1)
    before = await calls()
    await asyncio.sleep(2)
    assert await calls() - before <= 2
    for round_ in range(20):
        for number in range(10):
            name = "step" if round_ < 19 else "done"
            await there.publish(f"t{number}", name, asyncio.get_running_loop().time())
        await asyncio.sleep(0.02)
    delays = sorted(delay for each in await asyncio.gather(*followers) for delay in each)
    assert len(delays) == 6000
    assert delays[len(delays) // 2] < 0.05


async def test_a_redis_that_is_killed_and_comes_back_empty_loses_no_end(
    redis_url: str, redis_server: Redis
) -> None:
    async with (
        RedisLink(redis_server.url, timeout=10, connect_timeout=10) as one,
        RedisLink(redis_server.url, timeout=10, connect_timeout=10) as two,
    ):
        worker, page = Channel(one, keep=5), Channel(two, keep=5)
        for number in range(5):
            await worker.publish("t", "step", number)
        following = asyncio.create_task(_names(page.subscribe("t", until={"done"})))
        await asyncio.sleep(0.2)
        redis_server.kill()
        for number in range(30):
            await worker.publish("t", "step", number)
        await worker.publish("t", "done")
        redis_server.start()
        async with asyncio.timeout(15):
            names = await following
        assert names[-1] == "done"
        assert names[:5] == ["step"] * 5
        late = [event async for event in page.subscribe("t", until={"done"})]
        assert [event.name for event in late][-1] == "done"
        assert [event async for event in page.subscribe("t", after=late[-1].id, until={"done"})] == []


async def _names(events: AsyncIterator[Progress]) -> list[str]:
    return [event.name async for event in events]


async def test_a_follower_that_loses_redis_waits_and_misses_nothing(
    links: tuple[RedisLink, RedisLink],
) -> None:
    one, two = (Channel(link, poll=0.05) for link in links)
    there = two.subscribe("t")
    for _ in range(3):
        await one.publish("t", "x")
    assert [e.id for e in await take(there, 3)] == [1, 2, 3]
    await links[1].aclose()
    waiting = asyncio.create_task(take(there, 2))
    await one.publish("t", "x")
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await links[1].start()
    await one.publish("t", "x")
    assert [e.id for e in await waiting] == [4, 5]
    await there.aclose()
