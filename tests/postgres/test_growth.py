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


def test_a_pool_of_many_grows_for_a_long_queue_only() -> None:
    growth = grown(use=0.001)
    assert growth.pays(waiting=100, busy=4, now=100.0, waited=0.0)
    assert not growth.pays(waiting=100, busy=8, now=100.0, waited=0.0), (
        "13 ms of queue, and a connect takes 10"
    )
    assert not growth.pays(waiting=100, busy=4, coming=4, now=100.0, waited=0.0), "four more come already"
    assert growth.pays(waiting=300, busy=8, now=100.0, waited=0.0)
    slow = grown(use=0.05, connect=0.03)
    assert slow.pays(waiting=300, busy=50, now=100.0, waited=0.0), (
        "a quarter of a second is long for any pool"
    )
    assert grown(use=0.05, connect=2.0).pays(waiting=3000, busy=50, now=100.0, waited=0.0)


def test_it_grows_when_nothing_comes_back() -> None:
    growth = grown(use=0.001)
    assert not growth.pays(waiting=1, busy=1, now=100.005, waited=1.0)
    assert growth.pays(waiting=1, busy=1, now=100.02, waited=1.0)
    assert not growth.pays(waiting=1, busy=1, now=100.02, waited=0.001)


def test_it_grows_at_once_when_nothing_is_known_or_nothing_is_there() -> None:
    assert Growth().pays(waiting=1, busy=3, now=0.0, waited=0.0)
    assert grown(use=0.001).pays(waiting=1, busy=0, now=100.0, waited=0.0)
