"""Both tiers without a Redis: what changes by other processes do to memory."""

from __future__ import annotations

import math

import pytest

from prodkit.cache.codec import JsonCodec
from prodkit.cache.entry import Entry
from prodkit.cache.memory_tier import MemoryTier
from prodkit.cache.outage_log import OutageLog
from prodkit.cache.tiers import Tiers
from prodkit.core.runtime import SYSTEM


def tiers(*keys: str, tags: str = "", life: float = 60.0) -> Tiers:
    """Make tiers whose memory holds `keys`, each with `tags` and heard by the tracking session."""
    both = Tiers(None, "t", SYSTEM.clock, JsonCodec(), MemoryTier(100, 10**6), OutageLog(10), 1.0, "never")
    both.on_ready()
    for key in keys:
        both.memory.put(key, entry(tags=tags, life=life, session=both.session))
    return both


def entry(*, tags: str = "", life: float = 60.0, session: int = 0) -> Entry:
    now = SYSTEM.clock.monotonic()
    made = Entry(b"1", 1, fresh_until=now + life, expires_at=now + life, tags=frozenset(tags.split()))
    made.session = session
    return made


def kept(both: Tiers) -> set[str]:
    return {key for key, _ in both.memory}


def distrusted(both: Tiers) -> set[str]:
    return {key for key, each in both.memory if each.revalidate_at == 0.0}


@pytest.mark.parametrize(
    ("name", "left", "asked"),
    [
        ("v:a", {"b"}, set()),
        ("v:a:b", {"a", "b"}, set()),  # a key may hold colons
        ("t:news", set(), set()),
        ("t:other", {"a", "b"}, set()),
        ("g:", set(), set()),
        ("p:", {"a", "b"}, {"a", "b"}),  # a pattern: Redis is asked before the next use
        ("x:a", {"a", "b"}, set()),
    ],
)
def test_a_change_by_another_process(name: str, left: set[str], asked: set[str]) -> None:
    both = tiers("a", "b", tags="news")
    both.on_change(name)
    assert (kept(both), distrusted(both)) == (left, asked)


def test_the_message_about_our_own_write_does_not_drop_it() -> None:
    both = tiers("a", "b")
    ours = both.memory.get("a")
    assert ours is not None
    both.written(ours)
    both.on_change("v:a")
    both.on_change("v:b")
    assert kept(both) == {"a"}
    assert distrusted(both) == {"a"}


def test_a_write_that_was_only_logged_awaits_no_message() -> None:
    both = tiers("a")
    logged = both.memory.get("a")
    assert logged is not None
    both.written(logged, later=True)
    assert logged.revalidate_at == math.inf
    both.on_change("v:a")
    assert kept(both) == set()


def test_the_end_of_a_tracking_session_distrusts_what_relied_on_it() -> None:
    both = tiers("a")
    both.memory.put("other", entry())
    assert both.coherent
    both.on_lost()
    assert not both.coherent
    assert distrusted(both) == {"a"}
    before = both.session
    both.on_ready()
    assert both.coherent
    assert both.session != before


def test_tags_drop_the_entries_that_have_one_of_them() -> None:
    both = tiers("a", tags="news home")
    both.memory.put("b", entry(tags="shop"))
    both.drop_tags(frozenset({"home", "unknown"}))
    assert kept(both) == {"b"}


def test_the_arguments_of_a_write_are_seconds_from_now() -> None:
    both = tiers()
    now = SYSTEM.clock.monotonic()
    stale = Entry(b"1", 1, fresh_until=now + 60, expires_at=now + 90, cost=0.5, tags=frozenset("ba"))
    found = both.write_arguments(stale)
    assert found is not None
    assert found["life"] == pytest.approx(90, abs=5)
    assert found["stale"] == pytest.approx(30)
    assert (found["cost"], found["tags"]) == (0.5, ["a", "b"])
    other = both.write_arguments(entry())
    assert other is not None
    assert other["stale"] == 0.0
    assert other["write_id"] != found["write_id"]
    assert both.write_arguments(entry(life=-1)) is None


async def test_without_a_redis_a_change_is_neither_made_nor_logged() -> None:
    both = tiers()

    async def change(redis: object) -> None:
        raise AssertionError

    assert await both.apply(change, keys=("a",)) == (None, False)
    assert len(both.log) == 0
