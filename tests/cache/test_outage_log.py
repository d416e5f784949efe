from __future__ import annotations

from prodkit.cache.outage_log import OutageLog


def test_each_once_and_in_order() -> None:
    log = OutageLog(10)
    log.add(keys=("a", "b"), tags=("t",))
    log.add(keys=("a",), patterns=("p*",))
    assert len(log) == 4
    assert log.take(1) == (False, ("a",), ("t",), ("p*",))
    assert log.take(5) == (False, ("b",), (), ())
    assert len(log) == 0


def test_past_its_limit_it_is_everything() -> None:
    log = OutageLog(2)
    log.add(keys=("a", "b", "c"))
    log.add(keys=("d",))
    assert len(log) == 1
    assert log.take(5) == (True, (), (), ())
    assert len(log) == 0


def test_everything_swallows_the_rest() -> None:
    log = OutageLog(10)
    log.add(keys=("a",))
    log.add(everything=True)
    log.add(tags=("t",))
    assert log.take(5) == (True, (), (), ())
