"""Policies switched off for tests of the code inside them."""

import pytest

import prodkit as pk
from prodkit import policies
from prodkit.policies.switch import OFF, is_off


def test_blocks_may_be_nested_and_end_with_an_error() -> None:
    assert not is_off()
    with policies.off():
        with pytest.raises(KeyError), policies.off():
            assert OFF == [2]
            raise KeyError
        assert is_off()
    assert not is_off()


async def test_inside_nothing_is_repeated_and_nothing_refused() -> None:
    breaker, calls = pk.CircuitBreaker("b", failures=1), 0

    async def fails() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError

    with policies.off():
        for _ in range(3):
            with pytest.raises(ConnectionError):
                await pk.Pipeline(pk.Retry(3, wait=0), breaker).run(fails)
    assert (calls, breaker.state) == (3, "closed")
