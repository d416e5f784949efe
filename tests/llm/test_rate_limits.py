"""The rate limits learned from headers."""

import pytest

from prodkit.llm.rate_limits import HedgeShare, RateLimits, Reservation

NEED = (1.0, 10.0, 100.0)


def _headers(limit: int, remaining: int) -> dict[str, str]:
    return {
        "anthropic-ratelimit-requests-limit": str(limit),
        "anthropic-ratelimit-requests-remaining": str(remaining),
    }


def _go(limits: RateLimits, now: float) -> float:
    return _sent(limits, now).wait


def _sent(limits: RateLimits, now: float) -> Reservation:
    share = limits.take(NEED, now)
    limits.sent(share, now)
    return share


def _learn(limits: RateLimits, headers: dict[str, str]) -> None:
    """The answer to one request, the only one in flight."""
    share = _sent(limits, 0.0)
    limits.landed(share, headers, 0.0)


def test_nothing_is_held_back_before_the_limits_are_known() -> None:
    limits = RateLimits()
    assert [_go(limits, 0.0) for _ in range(100)] == [0.0] * 100


def test_what_was_sent_blindly_is_counted_when_the_limit_is_known() -> None:
    limits = RateLimits()
    shares = [_sent(limits, 0.0) for _ in range(50)]
    limits.landed(shares[0], _headers(60, 59), 0.0)
    assert [_go(limits, 0.0) for _ in range(10)] == [0.0] * 10
    assert _go(limits, 0.0) == pytest.approx(1 / 0.98)
    assert _go(limits, 0.0) == pytest.approx(2 / 0.98), "one after the other"


def test_what_others_take_of_the_limit_is_learned() -> None:
    limits = RateLimits()
    _learn(limits, _headers(60, 59))
    _learn(limits, _headers(60, 2))
    assert _go(limits, 0.0) == 0
    assert _go(limits, 0.0) == 0
    assert _go(limits, 0.0) > 0


def test_a_share_that_is_not_used_comes_back() -> None:
    limits = RateLimits()
    _learn(limits, _headers(2, 1))
    share = limits.take(NEED, 0.0)
    assert limits.wait(NEED, 0.0) > 0
    limits.give_back(share)
    assert limits.wait(NEED, 0.0) == 0


def test_a_share_taken_blindly_is_outdated_once_limits_are_known() -> None:
    limits = RateLimits()
    share = limits.take(NEED, 0.0)
    assert not limits.outdated(share)
    _learn(limits, _headers(60, 59))
    assert limits.outdated(share)
    limits.give_back(share)
    assert not limits.outdated(limits.take(NEED, 0.0))


def test_the_limit_of_output_tokens_is_kept_too() -> None:
    limits = RateLimits()
    _learn(
        limits,
        {
            "anthropic-ratelimit-output-tokens-limit": "250",
            "anthropic-ratelimit-output-tokens-remaining": "200",
        },
    )
    assert [_go(limits, 0.0), _go(limits, 0.0)] == [0.0, 0.0]
    assert _go(limits, 0.0) > 0


@pytest.mark.parametrize("headers", [_headers(0, 0), {"anthropic-ratelimit-requests-limit": "many"}, {}])
def test_headers_that_say_nothing_change_nothing(headers: dict[str, str]) -> None:
    limits = RateLimits()
    _learn(limits, headers)
    assert _go(limits, 0.0) == 0


def test_hedges_are_a_share_of_the_requests() -> None:
    share = HedgeShare(0.1)
    assert share.take()
    assert not share.take()
    for _ in range(10):
        share.sent()
    assert share.take()
    assert not share.take()


def test_a_cautious_estimate_does_not_slow_the_calls_down_for_ever() -> None:
    """The server takes less than we reserve and says so; between requests we believe it."""
    limits = RateLimits()
    headers = {
        "anthropic-ratelimit-output-tokens-limit": "150",
        "anthropic-ratelimit-output-tokens-remaining": "149",
    }
    for _ in range(20):
        assert limits.wait(NEED, 0.0) == 0
        _learn(limits, headers)


def test_requests_in_flight_are_not_believed_to_be_free() -> None:
    limits = RateLimits()
    _learn(limits, _headers(10, 9))
    shares = [_sent(limits, 0.0) for _ in range(9)]
    limits.landed(shares[0], _headers(10, 8), 0.0)  # the first of nine: the others have not arrived there
    assert limits.wait(NEED, 0.0) > 0


def test_an_old_answer_that_comes_late_is_not_believed_either() -> None:
    limits = RateLimits()
    _learn(limits, _headers(10, 9))
    shares = [_sent(limits, 0.0) for _ in range(9)]
    for share, remaining in zip(reversed(shares), range(9), strict=True):
        limits.landed(share, _headers(10, remaining), 0.0)
    assert limits.wait(NEED, 0.0) > 0
