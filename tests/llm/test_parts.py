"""The small pure parts: plan, limits, cost, models, redaction, splice, places."""

import asyncio
import pickle
from typing import Any

import pytest

from prodkit import (
    BudgetExceededError,
    CallTimeoutError,
    CircuitOpenError,
    DeadlineExceededError,
    LlmError,
    llm,
)
from prodkit.llm.classify import Failure
from prodkit.llm.cost import estimate_input, worst_case
from prodkit.llm.limits import HedgeShare, RateLimits, Share
from prodkit.llm.places import Places
from prodkit.llm.plan import GiveUp, Go, Hold, Plan
from prodkit.llm.redaction import clean
from prodkit.llm.splice import MalformedError, Splice
from prodkit.testing import virtual_time

NEED = (1.0, 10.0, 100.0)
FREE = Hold()


# ------------------------------------------------------------------------ plan


def _plan(size: int = 2, attempts: int = 3, patience: float = 30) -> Plan:
    return Plan(size, attempts=attempts, patience=patience)


def test_a_model_is_asked_again_after_a_failure_that_may_pass() -> None:
    plan = _plan()
    assert plan.step(lambda _: FREE, 60) == Go(0, 0.0, "")
    plan.sent()
    plan.failed(Failure("overloaded"), 1.0)
    assert plan.step(lambda _: FREE, 60) == Go(0, 1.0, "backoff")


def test_a_model_is_left_after_its_attempts() -> None:
    plan = _plan(attempts=2)
    for _ in range(2):
        plan.sent()
        plan.failed(Failure("overloaded"), 1.0)
    assert plan.step(lambda _: FREE, 60) == Go(1, 0.0, "")


def test_what_no_model_can_mend_ends_the_call() -> None:
    plan = _plan()
    plan.sent()
    plan.failed(Failure("invalid_request"), 1.0)
    assert isinstance(plan.step(lambda _: FREE, 60), GiveUp)


def test_a_conflict_is_not_carried_to_another_model() -> None:
    plan = _plan(attempts=1)
    plan.sent()
    plan.failed(Failure("conflict"), 1.0)
    assert isinstance(plan.step(lambda _: FREE, 60), GiveUp)


@pytest.mark.parametrize(
    ("hold", "expected"),
    [
        (Hold(5, "retry_after"), Go(0, 5, "retry_after")),
        (Hold(31, "retry_after"), Go(1, 0.0, "")),
        (Hold(31, "rate"), Go(1, 0.0, "")),
        (Hold(0.1, "open"), Go(1, 0.0, "")),
    ],
)
def test_a_model_that_rests_is_waited_for_when_that_fits(hold: Hold, expected: Go) -> None:
    assert _plan().step(lambda index: hold if index == 0 else FREE, 60) == expected


def test_the_last_model_is_waited_for_as_long_as_there_is_time() -> None:
    assert _plan(size=1).step(lambda _: Hold(50, "rate"), 60) == Go(0, 50, "rate")
    given_up = _plan(size=1).step(lambda _: Hold(70, "rate"), 60)
    assert isinstance(given_up, GiveUp)
    assert (given_up.retry_after, given_up.late) == (70, True)


def test_when_all_rest_the_soonest_counts() -> None:
    holds = [Hold(200, "open"), Hold(100, "retry_after")]
    given_up = _plan().step(lambda index: holds[index], 60)
    assert isinstance(given_up, GiveUp)
    assert given_up.retry_after == 100


# ---------------------------------------------------------------------- limits


def _told(limit: int, remaining: int) -> dict[str, str]:
    return {
        "anthropic-ratelimit-requests-limit": str(limit),
        "anthropic-ratelimit-requests-remaining": str(remaining),
    }


def _go(limits: RateLimits, now: float) -> float:
    return _sent(limits, now).wait


def _sent(limits: RateLimits, now: float) -> Share:
    share = limits.take(NEED, now)
    limits.sent(share, now)
    return share


def _learn(limits: RateLimits, told: dict[str, str]) -> None:
    """The answer to one request, the only one under way."""
    share = _sent(limits, 0.0)
    limits.landed(share)
    limits.learn(told, share, 0.0)


def test_nothing_is_held_back_before_the_limits_are_known() -> None:
    limits = RateLimits()
    assert [_go(limits, 0.0) for _ in range(100)] == [0.0] * 100


def test_what_was_sent_blindly_is_counted_when_the_limit_is_known() -> None:
    limits = RateLimits()
    shares = [_sent(limits, 0.0) for _ in range(50)]
    limits.landed(shares[0])
    limits.learn(_told(60, 59), shares[0], 0.0)
    assert [_go(limits, 0.0) for _ in range(10)] == [0.0] * 10
    assert _go(limits, 0.0) == pytest.approx(1 / 0.98)
    assert _go(limits, 0.0) == pytest.approx(2 / 0.98), "one after the other"


def test_what_others_take_of_the_limit_is_learned() -> None:
    limits = RateLimits()
    _learn(limits, _told(60, 59))
    _learn(limits, _told(60, 2))
    assert _go(limits, 0.0) == 0
    assert _go(limits, 0.0) == 0
    assert _go(limits, 0.0) > 0


def test_a_share_that_is_not_used_comes_back() -> None:
    limits = RateLimits()
    _learn(limits, _told(2, 1))
    share = limits.take(NEED, 0.0)
    assert limits.wait(NEED, 0.0) > 0
    limits.give_back(share)
    assert limits.wait(NEED, 0.0) == 0


def test_a_share_taken_blindly_is_outdated_once_limits_are_known() -> None:
    limits = RateLimits()
    share = limits.take(NEED, 0.0)
    assert not limits.outdated(share)
    _learn(limits, _told(60, 59))
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


@pytest.mark.parametrize("told", [_told(0, 0), {"anthropic-ratelimit-requests-limit": "many"}, {}])
def test_headers_that_say_nothing_change_nothing(told: dict[str, str]) -> None:
    limits = RateLimits()
    _learn(limits, told)
    assert _go(limits, 0.0) == 0


def test_hedges_are_a_share_of_the_requests() -> None:
    share = HedgeShare(0.1)
    assert share.take()
    assert not share.take()
    for _ in range(10):
        share.asked()
    assert share.take()
    assert not share.take()


# ------------------------------------------------------------------------ cost


def test_prices() -> None:
    price = llm.Price(3, 15)
    assert price.of(llm.Usage(1_000_000, 1_000_000)) == 18
    assert price.of(llm.Usage(0, 0, 1_000_000, 1_000_000)) == pytest.approx(3 * 1.25 + 0.3)
    with pytest.raises(ValueError, match=r"Price\.input"):
        llm.Price(-1, 1)


def test_a_budget_sets_aside_and_settles() -> None:
    budget = llm.Budget(1.0)
    budget.reserve(0.6)
    with pytest.raises(BudgetExceededError, match="not sent"):
        budget.reserve(0.5)
    budget.settle(0.6, 0.1)
    budget.reserve(0.5)
    assert budget.left == pytest.approx(0.4)


def test_the_estimate_sees_all_text_and_images() -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "x" * 10**6}}
    params = {
        "max_tokens": 10,
        "system": "a" * 300,
        "messages": [{"role": "user", "content": [image, {"text": "b"}]}],
    }
    assert 1700 < estimate_input(params) < 1900
    assert worst_case(params, llm.Price(0, 1_000_000)) == 10


# ----------------------------------------------------------------------- model


def test_a_model_adapts_parameters() -> None:
    model = llm.Model(
        "claude-haiku-5-5", omit=frozenset({"thinking"}), override={"speed": "fast"}, max_tokens=50
    )
    given = {"max_tokens": 100, "messages": [], "thinking": {}}
    assert model.adapted(given) == {"model": model.name, "max_tokens": 50, "messages": [], "speed": "fast"}
    assert given["max_tokens"] == 100


@pytest.mark.parametrize(
    "wrong", [{"name": " x"}, {"name": "x", "omit": "thinking"}, {"name": "x", "omit": {"messages"}},
              {"name": "x", "max_tokens": 0}]
)  # fmt: skip
def test_wrong_models(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        llm.Model(**wrong)


# ------------------------------------------------------------------- redaction


def test_what_the_api_quotes_of_the_request_is_taken_out() -> None:
    params = {
        "system": "Segredo42",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Ana Lima"}]}],
    }
    told = "messages.0: value 'Segredo42' by Lima for sk-key: max_tokens: Field required."
    assert clean(told, params, "sk-key-1") == "messages.0: value '…' by … for …: max_tokens: Field required."


# ---------------------------------------------------------------------- splice

START = {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 5}}}


def _open(kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": {"type": kind, **more}}


def _text(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


CLOSE = {"type": "content_block_stop", "index": 0}


@pytest.mark.parametrize(
    "events",
    [
        [_open()],
        [START, START],
        [START, _text("x")],
        [START, _open(), _open()],
        [START, CLOSE],
        [START, _open(), {"type": "message_stop"}],
        [{"type": "message_stop"}],
        [{"type": "message_start", "message": None}],
        [
            START,
            _open("tool_use"),
            {**_text(""), "delta": {"type": "input_json_delta", "partial_json": "{"}},
            CLOSE,
        ],
    ],
)
def test_events_that_make_no_message_are_refused(events: list[dict[str, Any]]) -> None:
    splice = Splice()
    with pytest.raises(MalformedError):
        for event in events:
            splice.feed(event)


def test_blocks_and_deltas_of_the_future_are_kept_as_they_begin() -> None:
    splice = Splice()
    for event in (
        START,
        {"type": "an_event_of_the_future"},
        _open("hologram", shape="cube"),
        {**_text(""), "delta": {"type": "spin_delta", "by": 7}},
        CLOSE,
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ):
        splice.feed(event)
    message = splice.message(splice.attempt_usage(failed=False))
    assert message["content"] == [{"type": "hologram", "shape": "cube"}]
    assert message["usage"]["output_tokens"] == 2


def test_citations_stay_with_their_text() -> None:
    splice = Splice()
    citation = {"type": "char_location", "cited_text": "x"}
    for event in (
        START,
        _open(text=""),
        _text("Sim."),
        {**_text(""), "delta": {"type": "citations_delta", "citation": citation}},
        CLOSE,
    ):
        splice.feed(event)
    assert splice.whole_blocks == [{"type": "text", "text": "Sim.", "citations": [citation]}]


def test_what_the_servers_own_tools_found_cannot_be_asked_for_again() -> None:
    splice = Splice()
    for event in (START, _open("server_tool_use", id="s", name="web_search"), CLOSE, _open(), _text("Achei")):
        splice.feed(event)
    assert not splice.resumable


# ---------------------------------------------------------------------- places


@virtual_time
async def test_places_are_given_in_order_and_left_by_the_cancelled() -> None:
    places = Places(1, max_queue=10)
    assert places.enter()
    assert not places.enter()
    order: list[int] = []

    async def one(number: int, latest: float) -> None:
        if await places.wait(latest) is None:
            order.append(number)
            await asyncio.sleep(1)
            places.leave()

    tasks = [asyncio.ensure_future(one(number, 100)) for number in range(5)]
    late = asyncio.ensure_future(places.wait(0.5))
    await asyncio.sleep(0.1)
    tasks[1].cancel()
    await asyncio.sleep(0.1)
    places.leave()
    tasks[0].cancel()  # its place had just been given
    await asyncio.wait(tasks)
    assert await late == "late"
    assert order == [2, 3, 4]
    assert (places.inflight, places.waiting) == (0, 0)


@virtual_time
async def test_a_line_has_an_end() -> None:
    places = Places(1, max_queue=0)
    places.enter()
    assert await places.wait(10) == "full"


# ---------------------------------------------------------------------- errors


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
    error = kind("told", retry_after=3.0, attempts=(attempt,), partial={"role": "assistant"}, code="c")
    assert isinstance(error, other)
    assert isinstance(error, LlmError)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.retry_after, again.attempts, again.code) == ("told", 3.0, (attempt,), "c")


def test_a_cautious_estimate_does_not_slow_the_calls_down_for_ever() -> None:
    """The server takes less than we reserve and says so; between requests we believe it."""
    limits = RateLimits()
    told = {
        "anthropic-ratelimit-output-tokens-limit": "150",
        "anthropic-ratelimit-output-tokens-remaining": "149",
    }
    for _ in range(20):
        assert limits.wait(NEED, 0.0) == 0
        _learn(limits, told)


def test_what_is_under_way_is_not_believed_to_be_free() -> None:
    limits = RateLimits()
    _learn(limits, _told(10, 9))
    shares = [_sent(limits, 0.0) for _ in range(9)]
    limits.landed(shares[0])
    limits.learn(_told(10, 8), shares[0], 0.0)  # the first of nine: the others have not arrived there
    assert limits.wait(NEED, 0.0) > 0


def test_an_old_answer_that_comes_late_is_not_believed_either() -> None:
    limits = RateLimits()
    _learn(limits, _told(10, 9))
    shares = [_sent(limits, 0.0) for _ in range(9)]
    for share, remaining in zip(reversed(shares), range(9), strict=True):
        limits.landed(share)
        limits.learn(_told(10, remaining), share, 0.0)
    assert limits.wait(NEED, 0.0) > 0
