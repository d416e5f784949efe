"""The sliding log by itself: whole microseconds in, whole microseconds out."""

from __future__ import annotations

from random import Random

import pytest

from prodkit.ratelimit.algorithms import AT, COUNT, STAMP, Log, admit, look, prune, quantum, trim

SECOND = 1_000_000
MINUTE = 60 * SECOND


def at(*seconds: int, cost: int = 1) -> Log:
    log = Log()
    for each in seconds:
        admit(log, each * SECOND, 1, cost)
    return log


def test_an_unused_log() -> None:
    assert look(Log(), 0, 3, MINUTE, 1) == (3, 0, 0, 0)


def test_the_example_of_the_docstring() -> None:
    log = at(0, 10, 20)
    assert look(log, 30 * SECOND, 3, MINUTE, 1) == (0, 30 * SECOND, 30 * SECOND, 50 * SECOND)
    assert look(log, 60 * SECOND, 3, MINUTE, 1) == (1, 0, 10 * SECOND, 20 * SECOND)


def test_an_entry_counts_until_exactly_one_window_after_it() -> None:
    assert look(at(0), MINUTE - 1, 1, MINUTE, 1).wait == 1
    assert look(at(0), MINUTE, 1, MINUTE, 1).wait == 0


def test_a_large_cost_waits_for_as_many_entries_as_it_needs() -> None:
    log = at(0, 10, 20)
    waits = [look(log, 30 * SECOND, 3, MINUTE, cost).wait // SECOND for cost in (0, 1, 2, 3)]
    assert waits == [0, 30, 40, 50]


def test_more_than_the_whole_amount_never_fits() -> None:
    assert look(Log(), 0, 3, MINUTE, 4).wait == MINUTE
    assert look(at(0), SECOND, 3, MINUTE, 4).wait == MINUTE


def test_a_log_over_its_amount_has_nothing_left() -> None:
    assert look(at(0, cost=9), SECOND, 3, MINUTE, 0).remaining == 0


def test_pruning_drops_what_is_over_and_nothing_else() -> None:
    log = at(0, 10, 20, cost=2)
    prune(log, 70 * SECOND, MINUTE)
    assert [entry[AT] // SECOND for entry in log.entries] == [20]
    assert log.used == 2


@pytest.mark.parametrize(("amount", "slot"), [(1, 1), (256, 1), (257, 234375), (1_000_000, 234375)])
def test_slots_begin_above_256(amount: int, slot: int) -> None:
    assert quantum(amount, MINUTE) == slot


def test_admissions_of_one_slot_share_an_entry_that_bears_the_latest() -> None:
    log = Log()
    first = admit(log, 1, 1000, 1)
    assert admit(log, 700, 1000, 2) is first
    assert (first[AT], first[COUNT], log.used) == (700, 3, 3)
    assert look(log, 700, 3, MINUTE, 1) == (0, MINUTE, MINUTE, MINUTE)  # never longer than the window
    assert admit(log, 999, 1000, 1) is first
    assert admit(log, 1000, 1000, 1) is not first


def test_what_redis_knows_is_divided_by_the_clock_of_redis() -> None:
    log = Log()
    first = admit(log, 900, 1000, 1, stamp=5100)
    assert admit(log, 1100, 1000, 1, stamp=5300) is first  # another slot here, the same there
    assert (first[AT], first[STAMP], first[COUNT]) == (1100, 5300, 2)
    assert admit(log, 1200, 1000, 1, stamp=6000) is not first
    assert log.used == 3


def test_an_entry_that_redis_knows_is_not_added_to() -> None:
    log = Log()
    known = admit(log, 1, 1000, 1, stamp=77)
    later = admit(log, 2, 1000, 1)
    assert later is not known
    assert (known[STAMP], later[STAMP]) == (77, 0)


def test_trimming_keeps_just_what_fills_the_amount() -> None:
    log = at(0, 1, 2, 3, 4)
    trim(log, 3)
    assert [entry[AT] // SECOND for entry in log.entries] == [2, 3, 4]
    large = at(0, 1, cost=5)
    trim(large, 3)
    assert large.used == 5  # one entry alone may be more


@pytest.mark.parametrize("seed", range(5))
def test_no_window_ever_holds_more_and_the_wait_is_exact(seed: int) -> None:
    random, log, admitted, now = Random(seed), Log(), [], 0
    amount, window = 5, 1000
    for _ in range(500):
        now += random.randrange(400)
        cost = random.randrange(1, 4)
        outlook = look(log, now, amount, window, cost)
        if outlook.wait:
            assert look(log, now + outlook.wait - 1, amount, window, cost).wait == 1
            now += outlook.wait
            assert look(log, now, amount, window, cost).wait == 0
        admit(log, now, 1, cost)
        admitted.append((now, cost))
    for start, _ in admitted:
        assert sum(cost for when, cost in admitted if start <= when < start + window) <= amount
