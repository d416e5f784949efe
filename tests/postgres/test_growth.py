from __future__ import annotations

from prodkit.postgres.growth import Growth


def grown(use: float, connect: float = 0.01) -> Growth:
    growth = Growth()
    growth.returned(use, 100.0)
    growth.connect = connect
    return growth


def test_growing_pays_only_when_the_queue_outlasts_a_connect() -> None:
    growth = grown(use=0.001)
    assert growth.pays(waiting=200, busy=2, now=100.0, waited=0.0)
    assert not growth.pays(waiting=30, busy=6, now=100.0, waited=0.0)
    assert not growth.pays(waiting=0, busy=6, now=100.0, waited=9.0)


def test_it_grows_when_nothing_comes_back() -> None:
    growth = grown(use=0.001)
    assert not growth.pays(waiting=1, busy=1, now=100.005, waited=1.0)
    assert growth.pays(waiting=1, busy=1, now=100.02, waited=1.0)
    assert not growth.pays(waiting=1, busy=1, now=100.02, waited=0.001)


def test_it_grows_at_once_when_nothing_is_known_or_nothing_is_there() -> None:
    assert Growth().pays(waiting=1, busy=3, now=0.0, waited=0.0)
    assert grown(use=0.001).pays(waiting=1, busy=0, now=100.0, waited=0.0)
