import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from prodkit import cache, sync
from prodkit.redis import RedisLink


@pytest.fixture
def answers() -> Iterator[sync.Cache]:
    made = sync.Cache(cache.Cache(RedisLink(None), namespace="sync-test"))
    with sync.running(made):
        yield made


def test_values_go_in_and_out(answers: sync.Cache) -> None:
    assert answers.get("k") is cache.MISSING
    assert answers.get("k", 5) == 5
    answers.set("k", {"n": 1}, ttl=60, tags=["t"])
    assert answers.get("k") == {"n": 1}
    answers.invalidate_tags("t")
    assert answers.get("k", None) is None
    answers.set("a:1", 1, ttl=60)
    assert answers.delete("a:1")
    answers.set("a:2", 1, ttl=60)
    answers.invalidate("a:*")
    answers.clear()
    assert answers.get("a:2", None) is None


def test_a_loader_runs_in_the_thread_that_asks(answers: sync.Cache) -> None:
    threads: list[int] = []

    def load() -> int:
        threads.append(threading.get_ident())
        return 7

    assert answers.get_or_set("k", load, ttl=60) == 7
    assert answers.get_or_set("k", load, ttl=60) == 7
    assert threads == [threading.get_ident()]


def test_many_threads_that_miss_load_once(answers: sync.Cache) -> None:
    loads: list[int] = []
    barrier = threading.Barrier(20)

    def load() -> str:
        loads.append(1)
        time.sleep(0.02)
        return "value"

    def ask(_: int) -> str:
        barrier.wait(10)
        return answers.get_or_set("shared", load, ttl=60)

    with ThreadPoolExecutor(20) as threads:
        assert set(threads.map(ask, range(20))) == {"value"}
    assert len(loads) == 1


def test_an_error_of_the_loader_reaches_its_caller(answers: sync.Cache) -> None:
    def load() -> int:
        raise LookupError("no such product")

    with pytest.raises(LookupError, match="no such product"):
        answers.get_or_set("k", load, ttl=60)


def test_an_interrupt_in_the_loader_leaves_nothing_behind(answers: sync.Cache) -> None:
    def load() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answers.get_or_set("k", load, ttl=60)
    assert answers.get_or_set("k", lambda: 3, ttl=60) == 3


def test_a_decorated_function_is_cached_by_its_arguments(answers: sync.Cache) -> None:
    calls: list[tuple[int, str]] = []

    @answers.cached(ttl=60)
    def price(product: int, *, currency: str = "BRL") -> str:
        calls.append((product, currency))
        return f"{product} {currency}"

    assert [price(1), price(1), price(1, currency="EUR"), price(2)] == ["1 BRL", "1 BRL", "1 EUR", "2 BRL"]
    assert calls == [(1, "BRL"), (1, "EUR"), (2, "BRL")]
    assert price.__name__ == "price"


def test_a_loader_may_use_the_cache_itself(answers: sync.Cache) -> None:
    def inner() -> int:
        return 2

    def outer() -> int:
        return 10 * answers.get_or_set("inner", inner, ttl=60)

    assert answers.get_or_set("outer", outer, ttl=60) == 20
