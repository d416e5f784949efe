"""One event to 1,000 followers of a channel, as a ratio to 1,000 puts into queues; delivery between two processes.

The delivery time is that from the publish in one process to the arrival in another, through one Redis. Both read the
monotonic clock of the same machine::

    this process ── publish(n, instant) ──► Redis ──► follower in a process of its own ── age of each event ──► here
"""

from __future__ import annotations

import asyncio
import statistics
import sys
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


FOLLOWER = """
import asyncio, sys, time
from prodkit.progress import Channel
from prodkit.redis import RedisLink

async def main(url):
    ages = []
    async with RedisLink(url) as link:
        follower = Channel(link).subscribe("run", after=0, until={"done"})
        async for event in follower:
            if event.name == "ready":
                print("ready", flush=True)
            elif event.name == "step":
                ages.append(time.monotonic() - event.data["at"])
    print(*ages, flush=True)

asyncio.run(main(sys.argv[1]))
"""


async def delivery(count: int) -> list[float]:
    """The seconds between a publish here and its arrival in another process, sorted."""
    from prodkit.testing.servers import Redis

    with Redis() as server:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FOLLOWER, server.url, stdout=asyncio.subprocess.PIPE, limit=2**20
        )
        assert child.stdout is not None
        async with RedisLink(server.url) as link:
            sender = Channel(link)
            await sender.publish("run", "ready", {})
            await child.stdout.readline()
            for _ in range(count):
                await asyncio.sleep(0.005)
                await sender.publish("run", "step", {"at": time.monotonic()})
            await sender.publish("run", "done", {})
            found = [float(each) for each in (await child.stdout.readline()).split()]
        await child.wait()
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
    table.add(
        "Redis delivery between two processes, p99",
        times[int(len(times) * 0.99)] * 1000,
        ceiling=20.0,
        unit="ms",
    )
    table.add("Redis delivery between two processes, median", statistics.median(times) * 1000, unit="ms")
    return table


if __name__ == "__main__":
    run(main)
