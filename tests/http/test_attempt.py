from __future__ import annotations

import httpx
import pytest

from prodkit.core.outcome import Outcome
from prodkit.errors import CallTimeoutError, DeadlineExceededError
from prodkit.http.attempt import (
    RETRIED,
    AttemptError,
    AttemptTimeoutError,
    Exchange,
    failure,
    is_one_of,
    repeatable,
    worth_another,
)

GET = httpx.Request("GET", "https://api.example/")
POST = httpx.Request("POST", "https://api.example/", content=b"x")


@pytest.mark.parametrize("method", ["GET", "head", "OPTIONS", "PUT", "DELETE", "TRACE"])
def test_idempotent_methods_may_be_sent_again(method: str) -> None:
    request = httpx.Request(method, "https://api.example/")
    assert repeatable(request, None)
    assert worth_another(failure(request, httpx.ReadError("reset")))


def test_a_post_may_be_sent_again_only_if_it_never_left() -> None:
    assert not worth_another(failure(POST, httpx.ReadError("reset")))
    for never in (httpx.ConnectError("refused"), httpx.ConnectTimeout("late"), httpx.PoolTimeout("full")):
        assert worth_another(failure(POST, never))
    assert not worth_another(ValueError("not an attempt"))


def test_a_body_that_is_a_stream_is_never_sent_twice() -> None:
    streamed = httpx.Request("PUT", "https://api.example/", content=iter([b"x"]))
    assert not repeatable(streamed, httpx.ConnectError("refused"))


def test_a_timeout_of_either_side_becomes_a_timeout_and_the_deadline_stays_itself() -> None:
    for late in (httpx.ReadTimeout("late"), CallTimeoutError("late", timeout=1.0)):
        assert isinstance(failure(GET, late), AttemptTimeoutError)
        assert isinstance(failure(GET, late), TimeoutError)
    assert type(failure(GET, httpx.ReadError("reset"))) is AttemptError
    passed = DeadlineExceededError("passed", timeout=0.0)
    assert failure(GET, passed) is passed


@pytest.mark.parametrize("status", sorted(RETRIED))
async def test_a_status_worth_another_attempt_is_raised_and_its_response_released(status: int) -> None:
    closed: list[int] = []

    class Response(httpx.Response):
        async def aclose(self) -> None:
            closed.append(1)
            raise httpx.ReadError("the connection broke")

    exchange = Exchange(GET)
    response = Response(status)
    with pytest.raises(AttemptError) as raised:
        exchange.answered(response)
    assert raised.value.response is response
    assert raised.value.repeatable
    await exchange.release()
    await exchange.release()
    assert closed == [1]


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 404, 409, 501])
def test_other_statuses_are_answers(status: int) -> None:
    response = httpx.Response(status)
    exchange = Exchange(GET)
    assert exchange.answered(response) is response
    exchange.release_sync()
    assert not response.is_closed or response.content == b""


def test_the_outcome_of_a_response_and_of_an_error() -> None:
    throttled = AttemptError(response=httpx.Response(429), repeatable=True)
    busy = AttemptError(response=httpx.Response(503, headers={"retry-after": "3"}), repeatable=True)
    broken = AttemptError(response=httpx.Response(500), repeatable=True)
    assert all(isinstance(each.outcome, Outcome) for each in (throttled, busy, broken))
    assert throttled.outcome == busy.outcome != broken.outcome


def test_the_librarys_own_error_takes_the_notes_over() -> None:
    original = httpx.ReadError("reset")
    error = AttemptError(error=original, repeatable=True)
    error.add_note("gave up after 3 attempts")
    assert error.theirs() is original
    assert original.__notes__ == ["gave up after 3 attempts"]


def test_classes_are_known_by_the_name_of_any_base() -> None:
    assert is_one_of(httpx.ConnectTimeout("late"), {"TimeoutException"})
    assert not is_one_of(httpx.ReadError("reset"), {"TimeoutException"})
