"""The fallback chain: which model is asked next, and after which wait."""

import pytest

from prodkit.llm.failures import Failure
from prodkit.llm.fallback_chain import FallbackChain, GiveUp, Go, Hold

FREE = Hold()
NEED = (1.0, 10.0, 100.0)


class Held:
    def __init__(self, hold: Hold) -> None:
        self._hold = hold

    def hold(self, need: tuple[float, float, float], now: float) -> Hold:
        return self._hold


def _step(chain: FallbackChain, *holds: Hold, remaining: float = 60) -> Go | GiveUp:
    """The next step of a chain whose last models are all held like the last of `holds`."""
    return chain.step([Held(hold) for hold in (*holds, holds[-1], holds[-1])], NEED, 0.0, remaining)


def _chain(size: int = 2, attempts: int = 3, max_wait: float = 30) -> FallbackChain:
    return FallbackChain([max_wait] * size, attempts=attempts)


def test_a_model_is_asked_again_after_a_failure_that_may_pass() -> None:
    chain = _chain()
    assert _step(chain, FREE) == Go(0, 0.0, "")
    chain.tries += 1
    chain.failed(Failure("overloaded"), 1.0)
    assert _step(chain, FREE) == Go(0, 1.0, "backoff")


def test_a_model_is_left_after_its_attempts() -> None:
    chain = _chain(attempts=2)
    for _ in range(2):
        chain.tries += 1
        chain.failed(Failure("overloaded"), 1.0)
    assert _step(chain, FREE) == Go(1, 0.0, "")


def test_a_model_can_be_left_for_a_later_one() -> None:
    chain = _chain(3)
    chain.leave(2)
    assert _step(chain, FREE) == Go(2, 0.0, "")


def test_a_failure_that_no_model_can_avoid_ends_the_call() -> None:
    chain = _chain()
    chain.tries += 1
    chain.failed(Failure("invalid_request"), 1.0)
    assert isinstance(_step(chain, FREE), GiveUp)


def test_a_conflict_is_not_carried_to_another_model() -> None:
    chain = _chain(attempts=1)
    chain.tries += 1
    chain.failed(Failure("conflict"), 1.0)
    assert isinstance(_step(chain, FREE), GiveUp)


@pytest.mark.parametrize(
    ("hold", "expected"),
    [
        (Hold(5, "retry_after"), Go(0, 5, "retry_after")),
        (Hold(31, "retry_after"), Go(1, 0.0, "")),
        (Hold(31, "rate"), Go(1, 0.0, "")),
        (Hold(0.1, "open"), Go(1, 0.0, "")),
    ],
)
def test_a_held_model_is_waited_for_when_that_fits(hold: Hold, expected: Go) -> None:
    assert _step(_chain(), hold, FREE) == expected


def test_the_last_model_is_waited_for_as_long_as_there_is_time() -> None:
    assert _step(_chain(size=1), Hold(50, "rate")) == Go(0, 50, "rate")
    given_up = _step(_chain(size=1), Hold(70, "rate"))
    assert isinstance(given_up, GiveUp)
    assert (given_up.retry_after, given_up.late) == (70, True)


def test_the_soonest_hold_counts_when_all_are_held() -> None:
    given_up = _step(_chain(), Hold(200, "open"), Hold(100, "retry_after"))
    assert isinstance(given_up, GiveUp)
    assert given_up.retry_after == 100
