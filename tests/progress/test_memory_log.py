"""The log of one process: numbering, the ring, the latest event of each name, forgotten topics."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prodkit.progress import MemoryLog
from prodkit.progress.memory_log import LATEST, Latest, Log, Page, Progress, Source
from prodkit.testing import virtual_time


async def filled(log: MemoryLog, count: int, topic: str = "t") -> MemoryLog:
    for number in range(count):
        await log.append(topic, "step", number)
    return log


def ids(page: Page) -> list[int]:
    return [event.id for event in page.events]


async def test_events_are_numbered_from_one_in_each_topic() -> None:
    log = MemoryLog()
    assert await log.append("a", "step", {"x": 1}) == Progress(1, "step", {"x": 1})
    assert (await log.append("a", "step", None)).id == 2
    assert (await log.append("b", "step", None)).id == 1
    assert (log.newest("a"), log.newest("unknown")) == (2, 0)


@pytest.mark.parametrize(
    ("after", "limit", "found"),
    [(0, 10, [1, 2, 3]), (0, 2, [1, 2]), (1, 1, [2]), (3, 10, []), (99, 10, [])],
)
async def test_reading_a_part(after: int, limit: int, found: list[int]) -> None:
    page = await (await filled(MemoryLog(), 3)).read("t", after, limit)
    assert (ids(page), page.newest) == (found, 3)


async def test_an_unknown_topic_is_empty() -> None:
    log = MemoryLog()
    assert await log.read("t", 0, 10) == Page((), 0)
    assert await log.latest("t", {"done"}) is None
    assert (log.names("t"), log.tags("t"), log.topics()) == ([], {}, [])


@pytest.mark.parametrize("count", range(1, 12))
async def test_the_last_ones_are_kept_and_no_others(count: int) -> None:
    page = await (await filled(MemoryLog(keep=3), count)).read("t", 0, 100)
    assert ids(page) == list(range(max(1, count - 2), count + 1))
    assert page.newest == count


async def test_an_id_that_is_not_above_the_newest_adds_nothing() -> None:
    log = MemoryLog()
    log.put("t", 5, "step", "first")
    log.put("t", 5, "step", "again")
    log.put("t", 4, "step", "late")
    log.put("t", 9, "step", "gap")
    page = log.page("t", 0, 10)
    assert [(event.id, event.data) for event in page.events] == [(5, "first"), (9, "gap")]
    assert (await log.append("t", "step", None)).id == 10


async def test_the_latest_event_of_a_name_outlives_the_ring() -> None:
    log = MemoryLog(keep=2)
    await log.append("t", "done", "ok")
    await filled(log, 10)
    assert ids(log.page("t", 0, 10)) == [10, 11]
    assert await log.latest("t", {"done", "failed"}) == Progress(1, "done", "ok")
    assert (await log.latest("t", {"done", "step"})) == Progress(11, "step", 9)
    assert await log.latest("t", {"failed"}) is None
    assert log.names("t") == ["done", "step"]


async def test_names_are_bounded_and_the_one_unused_for_longest_goes() -> None:
    log = MemoryLog()
    for number in range(LATEST):
        await log.append("t", f"n{number}", None)
    await log.append("t", "n0", None)
    await log.append("t", "new", None)
    assert len(log.names("t")) == LATEST
    assert "n1" not in log.names("t")
    assert "n0" in log.names("t")


async def test_tags_leave_with_their_events() -> None:
    log = MemoryLog(keep=2)
    for number in range(1, 5):
        log.put("t", number, "step", None, tag=f"tag{number}" if number != 4 else "")
    assert log.tags("t") == {3: "tag3"}


@virtual_time
async def test_a_topic_is_forgotten_after_its_ttl_when_another_gets_an_event() -> None:
    log = MemoryLog(ttl=60)
    await filled(log, 2, "old")
    await asyncio.sleep(59)
    await filled(log, 1, "new")
    assert log.topics() == ["old", "new"]
    await asyncio.sleep(2)
    await filled(log, 1, "new")
    assert log.topics() == ["new"]
    assert (await log.append("old", "step", None)).id == 1


async def test_topics_are_bounded_and_an_event_keeps_its_topic() -> None:
    log = MemoryLog(max_topics=2)
    for topic in ("a", "b", "a", "c"):
        await log.append(topic, "step", None)
    assert log.topics() == ["a", "c"]
    log.forget("a")
    log.forget("unknown")
    assert repr(log) == "MemoryLog(keep=500, topics=1)"


def test_it_keeps_the_protocols() -> None:
    assert isinstance(MemoryLog(), Log)
    assert isinstance(MemoryLog(), Source)
    assert isinstance(MemoryLog(), Latest)


@pytest.mark.parametrize("options", [{"keep": 0}, {"ttl": 0}, {"max_topics": 0}, {"keep": 1.5}])
def test_bounds_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        MemoryLog(**options)
