"""Counters in the memory of one process: all limits or none, refunds, and a bound that drops no live counter."""

from __future__ import annotations

from random import Random

import pytest

from prodkit.ratelimit import Limit
from prodkit.ratelimit.algorithms import Outlook
from prodkit.ratelimit.decision import Grant
from prodkit.ratelimit.memory_store import MemoryStore

TEN = Limit("2/10s", name="ten")
DAY = Limit("3/day", name="day")


class ManualClock:
    """A clock that a test sets by hand."""

    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time


def store(max_keys: int = 100) -> tuple[MemoryStore, ManualClock]:
    clock = ManualClock()
    return MemoryStore(clock, max_keys), clock  # type: ignore[arg-type]


def admitted(found: tuple[list[Outlook], list[Grant]]) -> bool:
    return bool(found[1])


@pytest.mark.parametrize("short", [True, False])
def test_both_ways_of_taking_one_agree(short: bool) -> None:
    memory, clock = store()

    def take() -> tuple[int, int]:
        if short:
            state = memory.take_one(TEN, "ana").states[0]
            return state.remaining, round(state.retry_after)
        outlook = memory.take([(TEN, "ana")], 1)[0][0]
        return outlook.remaining, outlook.wait // 1_000_000

    assert take() == (1, 0)
    clock.time += 4
    assert take() == (0, 0)
    assert take() == (0, 6)
    clock.time += 6
    assert take() == (0, 0)
    assert take() == (0, 4)


def test_a_refusal_by_one_limit_takes_nothing_from_the_other() -> None:
    memory, _ = store()
    for _ in range(2):
        assert admitted(memory.take([(TEN, "ana"), (DAY, "ana")], 1))
    assert not admitted(memory.take([(TEN, "ana"), (DAY, "ana")], 1))
    assert memory.take([(DAY, "ana")], 0)[0][0].remaining == 1


def test_keys_and_limits_have_counters_of_their_own() -> None:
    memory, _ = store()
    memory.take([(TEN, "ana")], 2)
    assert memory.take([(TEN, "bia")], 0)[0][0].remaining == 2
    assert memory.take([(DAY, "ana")], 0)[0][0].remaining == 3


def test_looking_takes_nothing_and_makes_no_counter() -> None:
    memory, _ = store()
    assert memory.take([(TEN, "ana")], 0)[0][0] == (2, 0, 0, 0)
    assert len(memory) == 0


def test_what_was_given_back_can_be_taken_again() -> None:
    memory, _ = store()
    _, grants = memory.take([(TEN, "ana")], 2)
    memory.give_back(grants[0])
    assert admitted(memory.take([(TEN, "ana")], 2))


def test_giving_back_after_the_window_changes_nothing() -> None:
    memory, clock = store()
    _, grants = memory.take([(TEN, "ana")], 2)
    clock.time += 10
    memory.take([(TEN, "ana")], 1)
    memory.give_back(grants[0])
    assert memory.take([(TEN, "ana")], 0)[0][0].remaining == 1


def test_refused_calls_count_where_the_limit_says_so() -> None:
    strict = Limit("1/10s", name="strict", count_denied=True)
    memory, clock = store()
    memory.take([(strict, "ana")], 1)
    clock.time += 9
    assert not admitted(memory.take([(strict, "ana")], 1))
    clock.time += 9
    assert not admitted(memory.take([(strict, "ana")], 1))  # the refusal of 9 s ago
    clock.time += 10
    assert admitted(memory.take([(strict, "ana")], 1))


def test_beyond_the_bound_new_keys_share_one_counter_and_live_ones_stay() -> None:
    memory, clock = store(max_keys=2)
    memory.take([(TEN, "ana")], 2)
    memory.take([(TEN, "bia")], 1)
    assert admitted(memory.take([(TEN, "eva")], 1))
    assert admitted(memory.take([(TEN, "kim")], 1))
    assert not admitted(memory.take([(TEN, "lea")], 1))  # eva and kim used the shared one up
    assert not admitted(memory.take([(TEN, "ana")], 1))
    assert memory.take([(TEN, "bia")], 0)[0][0].remaining == 1
    clock.time += 10
    assert admitted(memory.take([(TEN, "lea")], 2))  # ended counters made room


def test_ended_counters_are_dropped_little_by_little() -> None:
    memory, clock = store()
    for number in range(10):
        memory.take([(TEN, number)], 1)
    assert memory.drop_ended(100) == 0
    clock.time += 10
    assert memory.drop_ended(4) == 4
    memory.take([(TEN, "new")], 1)  # takes two with it
    assert len(memory) == 5


def test_a_key_can_be_forgotten() -> None:
    memory, _ = store()
    memory.take([(TEN, "ana")], 2)
    memory.forget(TEN, "ana")
    memory.forget(TEN, "never seen")
    assert len(memory) == 0
    assert admitted(memory.take([(TEN, "ana")], 2))


def test_entries_that_redis_does_not_know() -> None:
    memory, clock = store()
    memory.record(TEN, "ana", 1, memory.now(), stamp=77)
    memory.record(DAY, "bia", 1, memory.now())
    assert list(memory.live(every=False)) == [(DAY, "bia")]
    assert list(memory.live(every=True)) == [(TEN, "ana"), (DAY, "bia")]
    assert memory.entries(TEN, "ana", every=False) == []
    assert len(memory.entries(TEN, "ana", every=True)) == 1
    clock.time += 10
    assert list(memory.live(every=True)) == [(DAY, "bia")]
    assert len(memory) == 1


@pytest.mark.parametrize("rate", ["1/s", "5/10s", "256/10s", "300/10s", "100000/min"])
@pytest.mark.parametrize("seed", range(3))
def test_the_short_way_gives_the_same_numbers_as_the_long_one(rate: str, seed: int) -> None:
    """Taken alone and taken in a list: same answer, same outlook, same log, through refunds and jumps of time."""
    random, limit = Random(seed), Limit(rate, name="x", replicas=2)
    short, clock = store()
    long = MemoryStore(clock, 100)  # type: ignore[arg-type]
    grants: list[tuple[Grant, Grant]] = []
    for _ in range(600):
        clock.time += random.choice((0, 0, 0, 0.0001, 0.01, 0.3, limit.window / 3, limit.window / 300))
        decision = short.take_one(limit, "ana")
        outlooks, given = long.take([(limit, "ana")], 1)
        outlook = outlooks[0]
        assert decision.allowed == (not outlook.wait) == bool(given) == bool(decision.grants)
        assert tuple(decision._outlooks[0]) == tuple(outlook)
        if given:
            grants.append((decision.grants[0], given[0]))
        if grants and random.random() < 0.1:
            mine, other = grants.pop(random.randrange(len(grants)))
            short.give_back(mine)
            long.give_back(other)
        for memory in (short, long):
            log = memory._tables[limit.series]["ana"]
            assert log.used == sum(entry[1] for entry in log.entries)


@pytest.mark.parametrize("rate", ["3/10s", "300/10s"])
def test_no_window_admits_more_than_the_limit(rate: str) -> None:
    random, limit = Random(7), Limit(rate, name="x")
    memory, clock = store()
    admissions: list[float] = []
    for _ in range(3000):
        clock.time += random.choice((0, 0.001, 0.01, 0.5))
        if memory.take_one(limit, "ana").allowed:
            admissions.append(clock.time)
    for start, first in enumerate(admissions):
        inside = [
            each for each in admissions[start : start + limit.amount + 1] if each < first + limit.window
        ]
        assert len(inside) <= limit.amount


@pytest.mark.parametrize("rate", ["3/10s", "300/10s"])
def test_waiting_retry_after_is_enough(rate: str) -> None:
    limit = Limit(rate, name="x")
    memory, clock = store()
    clock.time += 0.0123
    for _ in range(2000):
        decision = memory.take_one(limit, "ana")
        if not decision.allowed:
            clock.time += decision.retry_after
            assert memory.take_one(limit, "ana").allowed
        clock.time += 0.001


def test_a_limit_on_trial_refuses_nothing_and_takes_only_what_it_has() -> None:
    trial = Limit("1/10s", name="trial", shadow=True)
    memory, _ = store()
    outlooks, grants = memory.take([(TEN, "ana"), (trial, "ana")], 1)
    assert len(grants) == 2
    outlooks, grants = memory.take([(TEN, "ana"), (trial, "ana")], 1)
    assert [grant[0] for grant in grants] == [TEN]
    assert [bool(each.wait) for each in outlooks] == [False, True]
    assert not admitted(memory.take([(TEN, "ana"), (trial, "ana")], 1))


def test_a_large_cost_is_taken_whole_or_not_at_all() -> None:
    large = Limit("1000/10s", name="large")
    memory, clock = store()
    assert admitted(memory.take([(large, "ana")], 999))
    outlooks, grants = memory.take([(large, "ana")], 2)
    assert not grants
    assert outlooks[0].remaining == 1
    assert admitted(memory.take([(large, "ana")], 1))
    clock.time += 9.999
    assert not admitted(memory.take([(large, "ana")], 1000))
    clock.time += 0.001
    assert admitted(memory.take([(large, "ana")], 1000))


def test_an_outage_of_a_limit_that_is_used_no_more_is_freed_by_the_others() -> None:
    memory, clock = store(max_keys=3)
    for key in "abc":
        memory.take([(TEN, key)], 1)
    clock.time += 10
    for key in "xyz":
        assert admitted(memory.take([(DAY, key)], 1))  # each drops two ended ones of any limit
    assert len(memory) == 3
    assert admitted(memory.take([(DAY, "z")], 2))


def test_the_shared_counter_is_never_merged_into_redis() -> None:
    memory, _ = store(max_keys=1)
    memory.take([(TEN, "ana")], 1)
    memory.take([(TEN, "bia")], 1)
    assert list(memory.live(every=True)) == [(TEN, "ana")]
