"""One event to 1,000 followers of a channel, as a ratio to 1,000 puts into queues; delivery between two processes.

The delivery time is that between two links to one Redis: publish in one, receive in the other.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from benchmarks.harness import Table, run
from prodkit.progress import Channel
from prodkit.redis import RedisLink

FOLLOWERS = 1_000
ROUNDS = 15


async def queues() -> float:
    """The CPU seconds of one item to a thousand consumers, each behind a queue of its own."""
    inboxes: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in range(FOLLOWERS)]
    waiting = [asyncio.create_task(inbox.get()) for inbox in inboxes]
    await asyncio.sleep(0)
    began = time.process_time()
    for inbox in inboxes:
        inbox.put_nowait(1)
    await asyncio.gather(*waiting)
    return time.process_time() - began


async def channel(log: int) -> float:
    """The CPU seconds of one event to a thousand followers of a topic that holds `log` events."""
    made = Channel(keep=max(log, 1))
    for number in range(log):
        await made.publish("run", "step", {"n": number})
    followers = [made.subscribe("run", after=log) for _ in range(FOLLOWERS)]
    waiting = [asyncio.create_task(anext(each)) for each in followers]
    for _ in range(3):
        await asyncio.sleep(0)
    began = time.process_time()
    await made.publish("run", "step", {"n": log})
    await asyncio.gather(*waiting)
    spent = time.process_time() - began
    for each in followers:
        await each.aclose()
    return spent


async def delivery(count: int) -> list[float]:
    """The seconds between a publish in one link and its arrival in the other."""
    from prodkit.testing.servers import Redis

    found: list[float] = []
    with Redis() as server:
        async with RedisLink(server.url) as one, RedisLink(server.url) as other:
            sender, receiver = Channel(one), Channel(other)
            follower = receiver.subscribe("run", after=0)
            for number in range(count):
                waiting = asyncio.create_task(anext(follower))
                await asyncio.sleep(0.005)
                began = time.perf_counter()
                await sender.publish("run", "step", {"n": number})
                await waiting
                found.append(time.perf_counter() - began)
            await follower.aclose()
    return sorted(found)


async def main() -> Table:
    table = Table("fan_out", "events to the followers of a channel", packages=("redis",))
    for log in (0, 500, 5_000):
        costs = [(await channel(log)) / (await queues()) for _ in range(ROUNDS)]
        table.add(
            f"one event to 1,000 followers ÷ 1,000 queues, log of {log:,}",
            statistics.median(costs),
            ceiling=2.0,
        )
    times = await delivery(500)
    table.add("Redis delivery, p99", times[int(len(times) * 0.99)] * 1000, ceiling=20.0, unit="ms")
    table.add("Redis delivery, median", statistics.median(times) * 1000, unit="ms")
    return table


if __name__ == "__main__":
    run(main)
