"""Counters in the memory of one process: all limits or none, refunds, and a bound that drops no live counter."""

from __future__ import annotations

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
