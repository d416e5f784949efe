"""The pure rules of a Retry: what is retried, after which seconds, and the forms in which that may be said."""

import math
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
import tenacity
import tenacity.asyncio

from prodkit import CircuitOpenError, DeadlineExceededError, InvalidError, MissingExtraError, Runtime
from prodkit.errors import RejectedError
from prodkit.policies import Retry
from prodkit.policies.backoff import constant, full_jitter
from prodkit.policies.base import MisuseError
from prodkit.policies.retry_rules import (
    NEVER_RETRIED,
    RetryRules,
    call_state,
    from_tenacity,
    is_try_again,
    never_retried,
    takes_state,
    verdict_on,
)


def rules(**changed: Any) -> RetryRules:
    plain: dict[str, Any] = {
        "attempts": 3,
        "verdict": verdict_on(Exception),
        "refused": (),
        "strategy": None,
        "result": None,
        "wait": 0.0,
        "wait_takes_state": False,
        "stop": None,
        "before": None,
        "after": None,
        "before_sleep": None,
        "retry_error_callback": None,
        "budget": None,
        "idempotent": True,
        "max_wait": 60.0,
        "nested": False,
        "runtime": Runtime(),
    }
    return RetryRules(**{**plain, **changed})


def plain(*args: object) -> None: ...


async def awaited(*args: object) -> None: ...


class Callable:
    async def __call__(self, *args: object) -> None: ...


LOOKS_AT_THE_STATE = ("strategy", "stop", "before", "after", "before_sleep", "retry_error_callback")


def test_a_plain_retry_needs_no_state_before_its_first_failure() -> None:
    assert not rules().exact
    assert not rules(result=plain, budget=object()).exact


@pytest.mark.parametrize("name", LOOKS_AT_THE_STATE)
def test_what_looks_at_the_state_needs_it_from_the_beginning(name: str) -> None:
    assert rules(**{name: plain}).exact
    assert not rules(**{name: plain}).asynchronous
    assert rules(**{name: awaited}).asynchronous
    assert rules(**{name: Callable()}).asynchronous


def test_a_wait_of_tenacity_needs_the_state_too() -> None:
    assert rules(wait_takes_state=True).exact
    assert rules(wait=awaited).asynchronous
    assert rules(result=awaited).asynchronous
    assert not rules().asynchronous


def test_an_async_predicate_is_found_among_the_errors() -> None:
    assert rules(verdict=verdict_on((ValueError, awaited))).asynchronous
    assert not rules(verdict=verdict_on((ValueError, plain))).asynchronous


@pytest.mark.parametrize(
    ("wait", "takes"),
    [
        (full_jitter(), False),
        (constant(1), False),
        (lambda attempt, rng, last: 1.0, False),
        (lambda *args: 1.0, False),
        (lambda state: 1.0, True),
        (lambda state, more=1: 1.0, True),
        (tenacity.wait_fixed(1), True),
        (tenacity.wait_exponential(), True),
        (lambda: 1.0, False),
        (lambda one, two: 1.0, False),
        (min, False),
        (7, False),
    ],
)
def test_waits_are_recognised_by_their_arguments(wait: Any, takes: bool) -> None:
    assert takes_state(wait) is takes


def test_a_signature_that_cannot_be_read_is_no_state() -> None:
    class Odd:
        __signature__ = "none"

        def __call__(self, state: object) -> float:
            return 1.0

    assert takes_state(Odd()) is False


def test_classes_are_true_or_false() -> None:
    verdict = verdict_on((KeyError, OSError))
    assert verdict(KeyError()) is True
    assert verdict(ConnectionError()) is True
    assert verdict(ValueError()) is False
    assert not hasattr(verdict, "predicates")


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (True, True),
        (False, False),
        (None, False),
        ("yes", "yes"),
        ("", False),
        (2, timedelta(seconds=2)),
        (0, timedelta(0)),
        (0.0, timedelta(0)),
        (-3.5, timedelta(0)),
        (math.inf, True),
        (math.nan, True),
        (timedelta(seconds=4), timedelta(seconds=4)),
    ],
)
def test_a_predicate_may_say_seconds(said: object, means: object) -> None:
    judged = verdict_on(lambda error: said)(ValueError())
    assert judged == means
    assert type(judged) is type(means)


def test_the_first_predicate_with_an_opinion_decides() -> None:
    verdict = verdict_on([lambda e: None, lambda e: 1.5, lambda e: 9.0])
    assert verdict(ValueError()) == timedelta(seconds=1.5)
    assert verdict_on((KeyError, lambda e: 1.5))(KeyError()) is True  # a class first


def test_a_group_is_retried_if_all_its_leaves_are() -> None:
    verdict = verdict_on((KeyError, lambda error: isinstance(error, ValueError)))
    assert verdict(ExceptionGroup("g", [KeyError(), ValueError()])) is True
    assert verdict(ExceptionGroup("g", [KeyError(), ExceptionGroup("h", [ValueError()])])) is True
    assert verdict(ExceptionGroup("g", [KeyError(), OSError()])) is False
    assert verdict(OSError()) is False


def test_refusals_and_refused_input_are_never_retried_unless_named() -> None:
    assert never_retried(Exception) == NEVER_RETRIED
    assert never_retried(ValueError) == NEVER_RETRIED
    without = never_retried((KeyError, CircuitOpenError))
    assert RejectedError not in without
    assert set(without) == {DeadlineExceededError, InvalidError, MissingExtraError, MisuseError}
    assert InvalidError not in never_retried(InvalidError)
    assert never_retried(lambda error: True) == NEVER_RETRIED


def test_tenacitys_strategies_are_recognised() -> None:
    assert from_tenacity(tenacity.retry_if_exception_type(), "retry_base")
    assert from_tenacity(tenacity.stop_after_attempt(1), "stop_base")
    assert from_tenacity(tenacity.asyncio.retry_if_exception(awaited), "retry_base")  # type: ignore[arg-type]
    assert not from_tenacity(tenacity.stop_after_attempt(1), "wait_base")
    assert not from_tenacity(plain, "retry_base")
    assert not from_tenacity(plain, "no_such_base")


def test_try_again_is_recognised() -> None:
    assert is_try_again(tenacity.TryAgain())
    assert not is_try_again(ValueError())


def test_the_state_of_tenacity_is_that_of_the_call_that_was_meant() -> None:
    state = call_state(Retry().run, (plain, 1), {"two": 2}, 30.0)
    assert (state.fn, state.args, state.kwargs, state.start_time) == (plain, (1,), {"two": 2}, 30.0)
    block = call_state(None, (), {}, 30.0)
    assert (block.fn, block.args, block.attempt_number) == (None, (), 1)


def test_without_tenacity_nothing_is_its_own() -> None:
    code = (
        "import sys\n"
        "from prodkit.policies.retry_rules import from_tenacity, is_try_again, takes_state\n"
        "assert not from_tenacity(print, 'retry_base') and not is_try_again(ValueError())\n"
        "assert 'tenacity' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
