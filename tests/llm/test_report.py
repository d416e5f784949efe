import math
from typing import Any

import pytest

from prodkit import CallTimeoutError, CircuitOpenError, DeadlineExceededError, LlmError, RateLimitedError, llm
from prodkit.llm.failures import Failure
from prodkit.llm.fallback_chain import GiveUp
from prodkit.llm.report import Report
from prodkit.llm.results import Attempt, Usage

PROMPT = "a private question that nobody may read"


@pytest.fixture
def report(faked: Any) -> Report:
    engine = faked()[0]._engine
    engine.now = lambda: 12.0
    params = {"messages": [{"role": "user", "content": PROMPT}]}
    return Report(engine, params, "create", "big", "ana", 10.0, "id1")


def attempt(number: int, outcome: str = "ok", **more: Any) -> Attempt:
    return Attempt(number=number, model="big", outcome=outcome, usage=Usage(3, 1), **more)


def test_totals_are_sums_and_a_cost_that_is_not_known_makes_no_sum(report: Report) -> None:
    assert report.totals() == (Usage(), 0.0)
    report.record(attempt(1, cost=0.5), None)
    assert report.totals() == (Usage(3, 1), 0.5)
    report.record(attempt(2, cost=0.25), None)
    assert report.totals() == (Usage(6, 2), 0.75)
    report.record(attempt(3), None)
    assert report.totals() == (Usage(9, 3), None)


def test_the_end_is_emitted_once(report: Report) -> None:
    ended: list[llm.LlmFinished] = []
    report.engine.runtime.events.subscribe(ended.append, llm.LlmFinished)
    report.record(attempt(1), None)
    report.finished("ok", model="big")
    report.finished("cancelled")
    [event] = ended
    assert (event.outcome, event.attempts, event.duration, event.caller) == ("ok", 1, 2.0, "ana")


def test_a_fallback_and_an_alert_are_marked_on_the_attempt(report: Report) -> None:
    seen: list[llm.LlmAttempt] = []
    report.engine.runtime.events.subscribe(seen.append, llm.LlmAttempt)
    report.record(Attempt(number=1, model="small", outcome="authentication"), Failure("authentication"))
    report.record(attempt(2), None)
    assert [(event.fallback_from, event.alert) for event in seen] == [("big", True), ("", False)]


def test_the_answer_joins_the_text_blocks(report: Report) -> None:
    report.record(attempt(1), None)
    blocks = [{"type": "text", "text": "um "}, {"type": "thinking"}, {"type": "text", "text": "dois"}]
    answer = report.answer({"content": blocks, "stop_reason": "end_turn"}, "small")
    assert (answer.text, answer.requested_model, answer.fell_back) == ("um dois", "big", True)
    assert report.ended


@pytest.mark.parametrize(
    ("failure", "end", "kind", "code"),
    [
        (Failure("timeout"), None, CallTimeoutError, "timeout"),
        (Failure("deadline"), None, DeadlineExceededError, "deadline"),
        (Failure("overloaded", status=529), None, LlmError, "overloaded"),
        (None, GiveUp(30.0, False, ("open",)), CircuitOpenError, "circuit_open"),
        (None, GiveUp(30.0, False, ("rate",)), RateLimitedError, "rate_limited"),
    ],
)
def test_the_error_is_of_the_kind_of_the_outcome(
    report: Report, failure: Failure | None, end: GiveUp | None, kind: type[Exception], code: str
) -> None:
    error = report.error(failure, end)
    assert isinstance(error, kind)
    assert isinstance(error, LlmError)
    assert error.code == code


def test_the_error_lists_the_attempts_and_never_the_prompt_or_the_key(report: Report) -> None:
    report.record(attempt(1, "overloaded", status=529), None)
    report.record(attempt(2, "connection"), None)
    error = report.error(Failure("connection", detail=f"sent {PROMPT}"))
    assert "after 2 request(s) in 2.0 s [big: overloaded 529, connection]" in str(error)
    assert PROMPT not in f"{error} {error.__cause__}"
    assert len(error.attempts) == 2


def test_a_wait_that_never_ends_is_no_advice(report: Report) -> None:
    error = report.error(None, GiveUp(math.inf, False, ("open",)))
    assert error.retry_after is None
    assert "try again" not in str(error)
