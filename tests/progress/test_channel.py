from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from prodkit.health import Health
from prodkit.progress import Channel, MemoryLog, Page, Progress
from prodkit.redis import RedisLink
from prodkit.testing import virtual_time


async def collect(events: AsyncIterator[Progress], count: int) -> list[Progress]:
    found = []
    async for event in events:
        found.append(event)
        if len(found) == count:
            break
    await events.aclose()  # type: ignore[attr-defined]
    return found


@virtual_time
async def test_events_are_numbered_and_replayed_from_any_point() -> None:
    channel = Channel()
    for number in range(1, 6):
        event = await channel.publish("run:7", "step", {"n": number})
        assert event.id == number
    assert [e.id for e in await collect(channel.subscribe("run:7"), 5)] == [1, 2, 3, 4, 5]
    assert [e.id for e in await collect(channel.subscribe("run:7", after=3), 2)] == [4, 5]
    assert (await channel.publish("run:8", "step")).id == 1


@virtual_time
async def test_a_subscriber_gets_what_comes_and_ends_at_the_end() -> None:
    channel = Channel()
    await channel.publish("t", "old")
    got: list[str] = []

    async def follow(after: int | None) -> None:
        async for event in channel.subscribe("t", after=after, until={"done"}):
            got.append(event.name)

    everything, news = asyncio.create_task(follow(0)), asyncio.create_task(follow(None))
    await asyncio.sleep(1)
    for name in ("a", "b", "done", "after the end".replace(" ", "_")):
        await channel.publish("t", name)
    async with asyncio.timeout(5):
        await asyncio.gather(everything, news)
    assert sorted(got) == ["a", "a", "b", "b", "done", "done", "old"]
    assert repr(channel).endswith("following=0)")


@virtual_time
async def test_what_is_not_kept_any_more_is_one_resync() -> None:
    channel = Channel(keep=3)
    for _ in range(10):
        await channel.publish("t", "step")
    found = await collect(channel.subscribe("t", after=2), 1)
    assert found == [Progress(10, "resync", None)]
    follower = channel.subscribe("t", after=2)
    assert (await anext(follower)).name == "resync"
    await channel.publish("t", "step")
    assert await anext(follower) == Progress(11, "step", None)
    await follower.aclose()
    assert [e.id for e in await collect(channel.subscribe("t", after=8), 3)] == [9, 10, 11]


@virtual_time
async def test_a_reader_ahead_of_a_log_that_was_lost_is_notified_once() -> None:
    channel = Channel()
    follower = channel.subscribe("t", after=57)
    assert await anext(follower) == Progress(0, "resync", None)
    waiting = asyncio.create_task(anext(follower))
    await asyncio.sleep(100)
    assert not waiting.done()
    await channel.publish("t", "step")
    assert (await waiting).id == 1
    await follower.aclose()


@virtual_time
async def test_a_hundred_reconnects_miss_nothing_and_repeat_nothing() -> None:
    dice = random.Random(100)
    channel = Channel()
    seen: list[int] = []

    async def work() -> None:
        for number in range(1000):
            await asyncio.sleep(dice.random() * 0.1)
            await channel.publish("t", "step" if number < 999 else "done", number)

    worker = asyncio.create_task(work())
    connections = 0
    over = False
    while not over:
        connections += 1
        events = channel.subscribe("t", after=seen[-1] if seen else 0, until={"done"})
        for _ in range(dice.randint(1, 15)):
            event = await anext(events, None)
            if event is None:
                over = True
                break
            seen.append(event.id)
        await events.aclose()
        await asyncio.sleep(dice.random() * 0.3)
    await worker
    assert connections >= 100
    assert seen == list(range(1, 1001))


@virtual_time
async def test_a_slow_subscriber_costs_the_log_only() -> None:
    channel = Channel(keep=10_000, batch=7)
    follower = channel.subscribe("t")
    await channel.publish("t", "step")
    assert (await anext(follower)).id == 1
    for _ in range(5000):
        await channel.publish("t", "step")
    assert [(await anext(follower)).id for _ in range(5000)] == list(range(2, 5002))
    await follower.aclose()


@virtual_time
async def test_a_source_of_ones_own_is_followed_by_polling_and_by_waking() -> None:
    class Rows:
        def __init__(self) -> None:
            self.rows: list[Progress] = []

        async def read(self, topic: str, after: int, limit: int) -> Page:
            assert topic == "run"
            return Page(tuple(r for r in self.rows if r.id > after)[:limit], len(self.rows))

    rows = Rows()
    channel = Channel(log=rows, poll=10)
    loop = asyncio.get_running_loop()
    follower = channel.subscribe("run", until={"done"})
    waiting = asyncio.create_task(anext(follower))
    await asyncio.sleep(1)
    rows.rows.append(Progress(1, "a", None))
    assert (await waiting).id == 1
    assert loop.time() == pytest.approx(10)  # the poll found it
    waiting = asyncio.create_task(anext(follower))
    await asyncio.sleep(1)
    rows.rows.append(Progress(2, "b", None))
    channel.wake("run")
    assert (await waiting).id == 2
    assert loop.time() == pytest.approx(11)  # the wake did not let it wait
    await follower.aclose()
    with pytest.raises(TypeError, match="Rows has no append"):
        await channel.publish("run", "x")


@virtual_time
async def test_topics_are_forgotten_and_bounded() -> None:
    log = MemoryLog(ttl=60, max_topics=3)
    channel = Channel(log=log)
    for topic in "abcd":
        await channel.publish(topic, "x")
    assert log.newest("a") == 0
    assert log.newest("d") == 1
    await asyncio.sleep(61)
    await channel.publish("e", "x")
    assert [log.newest(t) for t in "bcde"] == [0, 0, 0, 1]


@virtual_time
async def test_ids_given_by_the_caller_only_grow() -> None:
    log = MemoryLog()
    for number in (1, 3, 2):
        log.put("t", number, "x", None)
    assert [event.id for event in (await log.read("t", 0, 10)).events] == [1, 3]
    assert log.newest("t") == 3


@virtual_time
async def test_what_is_published_is_history() -> None:
    channel = Channel()
    data = {"list": [1]}
    await channel.publish("t", "x", data)
    data["list"].append(2)
    assert (await collect(channel.subscribe("t"), 1))[0].data == {"list": [1]}


@virtual_time
@pytest.mark.parametrize(
    ("name", "data", "error"),
    [("a\nb", None, ValueError), ("", None, ValueError), ("resync", None, ValueError), ("ok", object(), TypeError),
     ("ok", float("nan"), ValueError), (7, None, ValueError)],
)  # fmt: skip
async def test_what_cannot_be_sent_is_refused_before_it_is_kept(
    name: str, data: object, error: type[Exception]
) -> None:
    channel = Channel()
    with pytest.raises(error):
        await channel.publish("t", name, data)
    assert (await channel.publish("t", "fine")).id == 1


@virtual_time
async def test_a_gap_gives_resync_and_then_the_terminal_event() -> None:
    channel = Channel(keep=5)
    for number in range(20):
        await channel.publish("t", "step", number)
    await channel.publish("t", "done", "all")
    expected = [Progress(20, "resync", None), Progress(21, "done", "all")]
    assert [event async for event in channel.subscribe("t", after=0, until={"done"})] == expected
    # Cut off between the two, the browser comes back with the id of resync.
    assert [event async for event in channel.subscribe("t", after=20, until="done")] == expected[1:]
    # Events after the end push it out of the ring, not out of the topic.
    for number in range(20):
        await channel.publish("t", "stray", number)
    assert [event async for event in channel.subscribe("t", after=0, until={"done"})] == expected


@virtual_time
async def test_a_reader_that_has_the_terminal_event_is_not_kept_waiting() -> None:
    channel = Channel()
    await channel.publish("t", "step")
    await channel.publish("t", "done")
    assert [event async for event in channel.subscribe("t", after=2, until={"done"})] == []
    assert [event.id async for event in channel.subscribe("t", after=None, until={"done"})] == [2]
    assert [event.id async for event in channel.subscribe("t", after=99, until={"done"})] == [1, 2]
    resumed = channel.subscribe("t", after=2, until={"done", "failed"})
    await channel.publish("t", "step")
    await channel.publish("t", "failed")
    assert [event.id async for event in resumed] == [3, 4]


@virtual_time
async def test_the_end_of_a_source_of_ones_own_is_found_in_its_newest_row() -> None:
    class Rows:
        rows = [Progress(n, "step", None) for n in range(40, 50)] + [Progress(50, "done", None)]

        async def read(self, topic: str, after: int, limit: int) -> Page:
            return Page(tuple(r for r in self.rows if r.id > after)[:limit], 50)

    channel = Channel(log=Rows())
    names = [event.name async for event in channel.subscribe("run", after=3, until={"done"})]
    assert names == ["resync", "done"]
    assert [event async for event in channel.subscribe("run", after=50, until={"done"})] == []


@virtual_time
async def test_a_thousand_readers_of_every_kind_get_the_end() -> None:
    dice = random.Random(1000)
    ends = 0
    for trial in range(1000):
        channel = Channel(keep=dice.choice([1, 3, 10, 500]), batch=dice.choice([1, 7, 100]))
        topic, steps = f"t{trial}", dice.randint(0, 60)

        async def work(channel: Channel = channel, topic: str = topic, steps: int = steps) -> None:
            for _ in range(steps):
                await asyncio.sleep(dice.random() * 0.05)
                await channel.publish(topic, "step")
            await channel.publish(topic, "done")

        worker = asyncio.create_task(work())
        seen, position = "", dice.randint(0, 5)
        async with asyncio.timeout(3600):
            while seen != "done":
                events = channel.subscribe(topic, after=position, until={"done"})
                for _ in range(dice.randint(1, 20)):
                    event = await anext(events, None)
                    if event is None:
                        break
                    seen, position = event.name, event.id
                    await asyncio.sleep(dice.random() * dice.choice([0.01, 1]))
                await events.aclose()
            assert [e async for e in channel.subscribe(topic, after=position, until={"done"})] == []
        await worker
        ends += 1
    assert ends == 1000


def test_all_bad_options_are_in_one_error() -> None:
    with pytest.raises(ValueError, match=r"keep must.*poll must"):
        Channel(keep=0, poll=-1)
    with pytest.raises(ValueError, match="either redis or log"):
        Channel(object(), log=MemoryLog())  # type: ignore[arg-type]


async def test_a_channel_reports_its_health() -> None:
    channel = Channel(namespace="runs")
    found = await channel.check()
    assert (channel.name, found.status, found.reason) == ("runs", "up", "in the memory of this process only")
    assert (await Health(channel).report()).status == "up"


async def test_a_channel_without_its_redis_is_degraded() -> None:
    async with RedisLink("redis://127.0.0.1:1/0", connect_timeout=0.2) as link:
        found = await Channel(link).check()
    assert found.status == "degraded"
    assert "Redis is away" in found.reason
