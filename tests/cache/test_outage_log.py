from __future__ import annotations

from prodkit.cache.outage_log import Journal


def test_each_once_and_in_order() -> None:
    journal = Journal(10)
    journal.add(keys=("a", "b"), tags=("t",))
    journal.add(keys=("a",), pattern="p*")
    assert len(journal) == 4
    assert journal.take(1) == (False, ("a",), ("t",), ("p*",))
    assert journal.take(5) == (False, ("b",), (), ())
    assert len(journal) == 0


def test_past_its_limit_it_is_everything() -> None:
    journal = Journal(2)
    journal.add(keys=("a", "b", "c"))
    journal.add(keys=("d",))
    assert len(journal) == 1
    assert journal.take(5) == (True, (), (), ())
    assert len(journal) == 0


def test_everything_swallows_the_rest() -> None:
    journal = Journal(10)
    journal.add(keys=("a",))
    journal.add(everything=True)
    journal.add(tags=("t",))
    assert journal.take(5) == (True, (), (), ())
