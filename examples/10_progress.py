"""Publish the progress of a piece of work; a browser that loses its connection misses nothing."""

import asyncio
import random

from prodkit import progress

channel = progress.Channel()  # progress.Channel(redis) for several processes


async def council(topic: str, experts: int) -> None:
    for done in range(1, experts + 1):
        await asyncio.sleep(random.uniform(0.01, 0.05))
        await channel.publish(topic, "expert.finished", {"done": done, "of": experts})
    await channel.publish(topic, "done", {"answer": "Sim, com ressalvas."})


async def browser(topic: str) -> list[progress.Progress]:
    """Loses its connection after each second event and comes back with the last id it saw."""
    seen: list[progress.Progress] = []
    while not seen or seen[-1].name != "done":
        connection = channel.subscribe(topic, after=seen[-1].id if seen else 0, until={"done"})
        for _ in range(2):
            event = await anext(connection, None)
            if event is None:
                break
            seen.append(event)
        await connection.aclose()
        await asyncio.sleep(0.03)
    return seen


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(council("run:7", 5))
        watching = group.create_task(browser("run:7"))
    for event in watching.result():
        print(progress.encode(event).decode().strip().replace("\n", " | "))
    assert [event.id for event in watching.result()] == [1, 2, 3, 4, 5, 6]


asyncio.run(main())
