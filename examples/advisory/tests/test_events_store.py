"""Events as rows of a real database: numbered, announced, read through an outage."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from advisory.store.events import RunEvents, Topics, append, run_topic
from advisory.store.listener import Listener
from prodkit.errors import DatabaseError, PoolExhaustedError
from prodkit.progress import Page, Progress
from prodkit.testing import virtual_time


@pytest.mark.integration
async def test_an_event_has_a_number_and_a_notice(db, world):
    run_id = await world.ask()
    heard: list[str] = []
    async with db.acquire() as connection:

        def hear(*given: Any) -> None:
            heard.append(given[3])

        await connection.add_listener("advisory_events", hear)
        async with db.transaction() as tx:
            assert await append(tx, run_id, "x", {"a": 1}) == 2
            assert await append(tx, run_id, "y", {}) == 3
        for _ in range(100):
            if heard:
                break
            await asyncio.sleep(0.01)
        await connection.remove_listener("advisory_events", hear)
    assert set(heard) == {run_topic(run_id)}
    events = (await RunEvents(db).read(run_topic(run_id), 1, 10)).events
    assert [(each.id, each.name, each.data) for each in events] == [(2, "x", {"a": 1}), (3, "y", {})]


@pytest.mark.integration
async def test_what_another_process_writes_wakes_the_followers_of_its_topic_until_they_leave(db, world):
    run_id, other = await world.ask(), await world.ask()
    heard: asyncio.Queue[tuple[str | None, Progress | None]] = asyncio.Queue()
    topics = Topics(Listener(db), {"run": RunEvents(db)})
    leave = topics.listen({run_topic(run_id)}, lambda *given: heard.put_nowait(given))
    try:
        async with asyncio.timeout(20):
            assert await heard.get() == (None, None)  # it listens now: look at everything once
            for each in (other, run_id):
                async with db.transaction() as tx:
                    await append(tx, each, "x", {})
            while (found := await heard.get()) == (None, None):
                pass
        assert found == (run_topic(run_id), None)
        assert [each.name for each in (await topics.read(run_topic(run_id), 1, 10)).events] == ["x"]
    finally:
        leave()


class Reader:
    """The events of one kind in memory, which are unavailable on request."""

    def __init__(self, *, until: float = 0.0, error: Exception | None = None) -> None:
        self.until = until
        self.error = error
        self.asked: list[tuple[str, int, int]] = []

    async def read(self, topic: str, after: int, limit: int) -> Page:
        assert len(self.asked) < 1000, "asked again without a pause"
        self.asked.append((topic, after, limit))
        if self.error is not None and asyncio.get_running_loop().time() < self.until:
            raise self.error
        return Page((Progress(after + 1, "x", {}),), after + 1)


def a_channel(**readers: Reader) -> Topics:
    return Topics(None, readers)  # type: ignore[arg-type] - without a listener


async def test_a_topic_is_read_by_the_reader_of_its_kind():
    run, chat = Reader(), Reader()
    assert (await a_channel(run=run, chat=chat).read("chat:a:b", 4, 9)).newest == 5
    assert (run.asked, chat.asked) == ([], [("chat:a:b", 4, 9)])
    with pytest.raises(KeyError):
        await a_channel(run=run).read("chat:a", 0, 1)
    assert run_topic(UUID(int=7)) == "run:00000000-0000-0000-0000-000000000007"


@pytest.mark.parametrize("error", [DatabaseError("away"), PoolExhaustedError("full")])
@virtual_time
async def test_a_stream_outlives_a_restart_of_the_database(error):
    began = asyncio.get_running_loop().time()
    reader = Reader(until=began + 2.2, error=error)
    page = await a_channel(run=reader).read("run:1", 0, 1)
    assert page.newest == 1
    assert asyncio.get_running_loop().time() - began == pytest.approx(2.5)  # it looks twice a second
    assert len(reader.asked) == 6


@virtual_time
async def test_a_database_that_stays_away_ends_the_stream_after_a_minute():
    began = asyncio.get_running_loop().time()
    reader = Reader(until=began + 3600, error=DatabaseError("away"))
    with pytest.raises(DatabaseError):
        await a_channel(run=reader).read("run:1", 0, 1)
    assert asyncio.get_running_loop().time() - began == pytest.approx(60, abs=0.1)
    back = Reader(until=began + 60 + 59.9, error=DatabaseError("away"))
    assert (await a_channel(run=back).read("run:1", 0, 1)).newest == 1  # the last look is in time


@virtual_time
async def test_a_mistake_is_not_waited_for():
    began = asyncio.get_running_loop().time()
    reader = Reader(until=began + 1, error=ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        await a_channel(run=reader).read("run:1", 0, 1)
    assert len(reader.asked) == 1
