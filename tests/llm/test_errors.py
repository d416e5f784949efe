"""Errors with two bases."""

import pickle

import pytest

from prodkit import CallTimeoutError, CircuitOpenError, DeadlineExceededError, LlmError, llm


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        (llm.LlmTimeoutError, CallTimeoutError),
        (llm.LlmTimeoutError, TimeoutError),
        (llm.LlmDeadlineError, DeadlineExceededError),
        (llm.LlmCircuitOpenError, CircuitOpenError),
    ],
)
def test_an_error_is_both_things_and_travels(kind: type[LlmError], other: type[BaseException]) -> None:
    attempt = llm.Attempt(number=1, model="m", outcome="overloaded")
    error = kind("said", retry_after=3.0, attempts=(attempt,), partial={"role": "assistant"}, code="c")
    assert isinstance(error, other)
    assert isinstance(error, LlmError)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.retry_after, again.attempts, again.code) == ("said", 3.0, (attempt,), "c")
