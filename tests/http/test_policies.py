from __future__ import annotations

import httpx
import pytest

import prodkit as pk
from prodkit.http.attempt import AttemptError, failure
from prodkit.http.policies import HostPolicies, default_policies, says_ill, says_overloaded

GET = httpx.Request("GET", "https://api.example/")


def answered(status: int, **headers: str) -> AttemptError:
    return AttemptError(response=httpx.Response(status, headers=headers), repeatable=True)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_5xx_speaks_against_the_host(status: int) -> None:
    assert says_ill(answered(status))


@pytest.mark.parametrize("status", [408, 429])
def test_throttling_does_not(status: int) -> None:
    assert not says_ill(answered(status))


@pytest.mark.parametrize(
    ("error", "ill"),
    [
        (httpx.ConnectError("refused"), True),
        (httpx.ReadError("reset"), True),
        (httpx.ReadTimeout("late"), True),
        (httpx.PoolTimeout("our pool is full"), False),
        (httpx.UnsupportedProtocol("ours"), False),
        (httpx.LocalProtocolError("ours"), False),
    ],
)
def test_errors_count_unless_they_are_of_this_side(error: Exception, ill: bool) -> None:
    assert says_ill(failure(GET, error)) is ill


def test_a_timeout_counts_without_an_attempt_and_other_errors_do_not() -> None:
    assert says_ill(pk.CallTimeoutError("late", timeout=1.0))
    assert not says_ill(ValueError("a mistake of this program"))


def test_overload_is_a_timeout_or_a_503() -> None:
    assert says_overloaded(answered(503))
    assert says_overloaded(failure(GET, httpx.ReadTimeout("late")))
    assert not says_overloaded(answered(500))
    assert not says_overloaded(failure(GET, httpx.ReadError("reset")))
    assert not says_overloaded(ValueError("a mistake of this program"))


def test_each_host_has_a_guard_of_its_own() -> None:
    one, other = (default_policies(host, pk.SYSTEM) for host in ("a.example:443", "b.example:443"))
    assert one.breaker.name == "http a.example:443"
    assert one.breaker is not other.breaker
    assert one.budget is not other.budget
    assert one.gate is not other.gate
    assert (one.attempts, one.attempt_timeout, one.limit) == (3, 30.0, None)


def test_options_are_given_by_name() -> None:
    made = default_policies("a.example:443", pk.SYSTEM)
    with pytest.raises(TypeError):
        HostPolicies(made.breaker, made.gate, made.budget)  # type: ignore[misc]
