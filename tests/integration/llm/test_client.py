"""The client on a real server: parameters, money, hedges, caches, secrets, cancelling."""

import asyncio
import copy
import io
import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any

import anthropic
import pytest

from prodkit import BudgetExceededError, BulkheadFullError, InvalidError, LlmError, llm
from prodkit.core.outcome import Outcome
from prodkit.policies import CircuitBreaker
from prodkit.policies.classify import outcome_of
from prodkit.testing.anthropic import Simulator

pytestmark = pytest.mark.integration

SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"


# ------------------------------------------------------------------ parameters


async def test_parameters_that_the_sdk_does_not_take_are_passed_on(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    async with make() as client:
        await client.create(
            **params, temperature=0.2, top_k=3, future_parameter={"a": 1}, system="Seja breve."
        )
        await client.stream(**params, temperature=0.2, extra_headers={"x-trace": "7"}).final()
    first, second = simulator.requests
    assert (first.body["temperature"], first.body["top_k"]) == (0.2, 3)
    assert first.body["future_parameter"] == {"a": 1}
    assert first.body["system"] == "Seja breve."
    assert "extra_headers" not in second.body
    assert second.headers["x-trace"] == "7"
    assert second.headers["authorization"] == "Bearer sk-test"


async def test_each_model_gets_the_parameters_that_it_takes(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.configure(HAIKU, rejects=("thinking", "temperature"))
    simulator.always("529", model=SONNET)
    haiku = llm.Model(
        HAIKU,
        omit=frozenset({"thinking", "temperature"}),
        max_tokens=200,
        override={"metadata": {"user_id": "x"}},
    )
    async with make(models=(SONNET, haiku)) as client:
        answer = await client.create(**params, thinking={"type": "adaptive"}, temperature=1.0)
    assert answer.model == HAIKU
    sent = simulator.requests[-1].body
    assert sent["max_tokens"] == 200
    assert sent["metadata"] == {"user_id": "x"}
    assert "thinking" not in sent


async def test_a_call_may_begin_further_down_the_chain(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    async with make() as client:
        answer = await client.create(model=HAIKU, **params)
        assert (answer.model, answer.requested_model) == (HAIKU, HAIKU)
        with pytest.raises(InvalidError, match="unknown model 'claude-opus-9'"):
            await client.create(model="claude-opus-9", **params)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": "oi"}, "messages"),
        ({"stream": True}, "stream="),
        ({"timeout": -1}, "timeout"),
    ],
)
async def test_what_cannot_be_sent_is_refused_in_a_sentence(
    simulator: Simulator, make: Any, params: dict[str, Any], wrong: dict[str, Any], told: str
) -> None:
    async with make() as client:
        with pytest.raises(InvalidError, match=told):
            await client.create(**{**params, **wrong})
    assert simulator.counters.requests == 0


async def test_tokens_are_counted_and_the_count_is_retried(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any]
) -> None:
    simulator.script("529", "html200")
    async with make() as client:
        assert await client.count_tokens(messages=params["messages"], system="Seja breve.") > 0
        assert await client.count_tokens(**params) > 0  # max_tokens is of no interest to it
    assert [attempt.outcome for attempt in log.attempts] == ["overloaded", "bad_response", "ok", "ok"]
    assert {request.path for request in simulator.requests} == {"/v1/messages/count_tokens"}


# ---------------------------------------------------------------- construction


@pytest.mark.parametrize(
    "wrong",
    [
        {"models": ()},
        {"models": ("",)},
        {"models": ("gpt-5",)},
        {"models": SONNET},
        {"models": (SONNET, SONNET)},
        {"attempts": 0},
        {"attempts": 2.5},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"first_content_timeout": 0},
        {"stall_timeout": -3},
        {"attempt_timeout": 0},
        {"concurrency": 0},
        {"max_queue": -1},
        {"budget": 0},
        {"budget": -5.0},
        {"budget": 5.0},  # and no price
        {"hedge_after": 0},
        {"hedge_share": 2},
        {"prices": {"claude-opus-5-5": llm.Price(1, 1)}},
    ],
)
def test_wrong_use_fails_at_construction(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        llm.Client("k", **wrong)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ValueError, match=r"timeout.*attempts"):
        llm.Client("k", timeout=-1, attempts=0)


@pytest.mark.parametrize("key", ["", "  ", None])
def test_an_empty_key_fails_at_construction(key: str | None) -> None:
    with pytest.raises(ValueError, match="api_key"):
        llm.Client(key)


async def test_an_sdk_client_with_retries_on_fails_at_construction(
    simulator: Simulator, params: dict[str, Any]
) -> None:
    async with anthropic.AsyncAnthropic(api_key="k", base_url=simulator.url) as sdk:
        with pytest.raises(ValueError, match="max_retries=0"):
            llm.Client(sdk=sdk)
    async with anthropic.AsyncAnthropic(api_key="k", base_url=simulator.url, max_retries=0) as sdk:
        async with llm.Client(sdk=sdk) as client:
            assert (await client.create(**params)).text
        assert not sdk.is_closed()  # a client of your own stays yours


def test_importing_it_loads_no_sdk() -> None:
    code = "import sys, prodkit.llm; sys.exit(any(m in sys.modules for m in ('anthropic', 'httpx2', 'tenacity')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ----------------------------------------------------------------------- money


async def test_a_budget_is_never_passed(simulator: Simulator, make: Any, params: dict[str, Any]) -> None:
    prices = {SONNET: llm.Price(3, 15), HAIKU: llm.Price(1, 5)}
    budget = llm.Budget(0.05)
    async with make(prices=prices, budget=budget) as client:
        results = await asyncio.gather(*(client.create(**params) for _ in range(60)), return_exceptions=True)
        answers = [result for result in results if isinstance(result, llm.Answer)]
        refused = [result for result in results if isinstance(result, BudgetExceededError)]
        assert len(answers) + len(refused) == 60
        assert answers
        assert refused
        assert budget.spent == pytest.approx(sum(answer.cost or 0 for answer in answers))
        assert budget.spent <= budget.limit
        assert budget.reserved == pytest.approx(0)
    assert simulator.counters.requests == len(answers)


async def test_failed_attempts_count_against_the_budget(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    budget = llm.Budget(5.0)
    simulator.script("midrst")
    client = make(models=(SONNET,), prices={SONNET: llm.Price(3, 15)}, budget=budget)
    async with client, client.stream(**params) as stream:
        answer = await stream.final()
    assert budget.spent == pytest.approx(answer.cost)
    assert len(answer.attempts) == 2
    assert all(attempt.cost for attempt in answer.attempts)


# ----------------------------------------------------------------------- places


async def test_a_full_queue_refuses_and_says_so(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.always({"seconds": 0.3})
    async with make(concurrency=1, max_queue=1) as client:
        first = asyncio.ensure_future(client.create(**params))
        second = asyncio.ensure_future(client.create(**params))
        await asyncio.sleep(0.05)
        with pytest.raises(BulkheadFullError, match="queue is full"):
            await client.create(**params)
        assert (await first).text
        answer = await second
        assert answer.attempts[0].wait_reason == "queue"
        assert answer.attempts[0].waited > 0.1


async def test_a_place_in_line_has_an_end(
    simulator: Simulator, make: Any, params: dict[str, Any], running_time: Callable[[], float]
) -> None:
    simulator.always({"seconds": 3})
    async with make(concurrency=1) as client:
        first = asyncio.ensure_future(client.create(**params))
        await asyncio.sleep(0.05)
        begun = running_time()
        with pytest.raises(llm.LlmTimeoutError):
            await client.create(**params, timeout=0.2)
        assert running_time() - begun < 0.3
        assert (await first).text
    assert simulator.counters.requests == 1


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        ("529", Outcome.FAILED),
        ("500", Outcome.FAILED),
        ("rst0", Outcome.FAILED),
        ("ra-0.01", Outcome.THROTTLED),
        ("400", Outcome.NEUTRAL),
        ("401", Outcome.NEUTRAL),
        ("spend", Outcome.NEUTRAL),
    ],
)
async def test_policies_around_the_client_count_its_errors_as_its_own_breaker_does(
    simulator: Simulator, make: Any, params: dict[str, Any], behaviour: str, outcome: Outcome
) -> None:
    simulator.always(behaviour)
    outer = CircuitBreaker("claude", failures=1)
    async with make(attempts=1) as client:
        with pytest.raises(LlmError) as raised:
            await outer.run(client.create, **params)
    assert outcome_of(raised.value) is outcome
    assert outcome_of(pickle.loads(pickle.dumps(raised.value))) is outcome
    assert outer.state == ("open" if outcome is Outcome.FAILED else "closed")


# ----------------------------------------------------------------------- hedges


async def test_a_slow_first_token_is_hedged_and_the_loser_is_closed(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any], running_time: Callable[[], float]
) -> None:
    simulator.script({"seconds": 5})
    async with make(hedge_after=0.1) as client:
        begun = running_time()
        async with client.stream(**params) as stream:
            answer = await stream.final()
        assert running_time() - begun < 1
        seen = await asyncio.to_thread(simulator.wait_until_idle, 5)
    assert seen.aborted == 1
    assert [(a.outcome, a.hedge) for a in answer.attempts] == [("cancelled", False), ("ok", True)]
    assert len(log.attempts) == seen.requests == 2


async def test_hedges_are_few_and_fast_answers_need_none(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    async with make(hedge_after=1.5, hedge_share=0.1) as client:
        for _ in range(5):
            await client.stream(**params).final()
        assert simulator.counters.requests == 5
        simulator.always({"seconds": 4})
        await asyncio.gather(*(client.stream(**params).final() for _ in range(20)))
        assert 21 + 5 <= simulator.counters.requests <= 30 + 5


async def test_when_both_of_a_race_fail_both_are_counted(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any]
) -> None:
    simulator.script({"kind": "status", "status": 529, "seconds": 0.2}, {"kind": "status", "status": 500})
    async with make(hedge_after=0.05) as client:
        answer = await client.stream(**params).final()
    assert sorted(attempt.outcome for attempt in answer.attempts) == ["ok", "overloaded", "server_error"]
    assert simulator.counters.requests == len(log.attempts) == 3


async def test_a_race_may_be_cancelled(simulator: Simulator, make: Any, params: dict[str, Any]) -> None:
    simulator.always("hang")
    async with make(hedge_after=0.05) as client:
        task = asyncio.ensure_future(client.stream(**params).final())
        async with asyncio.timeout(10):
            while simulator.counters.open_requests < 2:
                await asyncio.sleep(0.02)
        assert simulator.counters.open_requests == 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen = await asyncio.to_thread(simulator.wait_until_idle, sockets=0)
    assert seen.aborted == 2


async def test_hedges_are_accounted_and_stay_within_the_budget_of_the_day(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    prices = {SONNET: llm.Price(3, 15), HAIKU: llm.Price(1, 5)}
    for daily, requests in (({}, 2), ({"*": 10.0}, 2), ({"*": 0.012}, 1)):
        ledger = llm.Ledger(daily=daily)
        simulator.reset()
        simulator.script({"seconds": 60 if requests == 2 else 3})
        async with make(hedge_after=1.5, prices=prices, ledger=ledger, budget=1.0) as client:
            answer = await client.stream(**params).final()
            assert [attempt.hedge for attempt in answer.attempts] == [False, True][:requests]
            check = await client.check()
            assert (check.details["in_flight"], answer.attempts[-1].ok) == (0, True)
            await client.stream(caller="other", **params).final()
        assert simulator.counters.requests == requests + 1
        rows = await ledger.report(by=("caller",))
        assert sum(row.requests for row in rows) == requests + 1
        assert sum(made.amount for _, made in ledger._reserved.values()) == 0


# ------------------------------------------------------------------------ cache


class Shelf:
    def __init__(self, broken: bool = False) -> None:
        self.kept: dict[str, Any] = {}
        self.broken = broken

    async def get(self, key: str) -> Any:
        if self.broken:
            raise ConnectionError("no shelf")
        return copy.deepcopy(self.kept.get(key))

    async def set(self, key: str, value: Any, *, ttl: float) -> None:
        if self.broken:
            raise ConnectionError("no shelf")
        self.kept[key] = value


async def test_the_same_question_is_answered_from_the_cache(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any]
) -> None:
    shelf = Shelf()
    async with make(cache=shelf) as client:
        first = await client.create(**params)
        second = await client.create(**params)
        other = await client.create(**{**params, "max_tokens": 399})
    assert (first.cached, second.cached, other.cached) == (False, True, False)
    assert second.text == first.text
    assert second.raw.content[0].text == first.text
    assert second.cost == 0
    assert simulator.counters.requests == 2
    assert log.finished[1].cached
    assert "Vale a pena" not in repr(list(shelf.kept))


async def test_the_kits_own_cache_is_such_a_shelf(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    from prodkit.cache import Cache
    from prodkit.redis import RedisLink

    link = RedisLink(None)
    shelf = Cache(link, namespace="answers")
    async with link, shelf, make(cache=shelf) as client:
        assert not (await client.create(**params)).cached
        assert (await client.create(**params)).cached


async def test_an_earlier_answer_of_the_sdk_may_be_part_of_the_conversation(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    async with make(models=(SONNET,), prices={SONNET: llm.Price(3, 15)}, budget=1.0) as client:
        first = await client.create(**params)
        messages = [
            *params["messages"],
            {"role": "assistant", "content": first.raw.content},
            *params["messages"],
        ]
        simulator.script("midrst")
        async with client.stream(max_tokens=400, messages=messages) as stream:
            answer = await stream.final()
    assert answer.text
    assert simulator.requests[1].body["messages"][1]["content"][0]["text"] == first.text


async def test_a_broken_cache_is_passed_over(simulator: Simulator, make: Any, params: dict[str, Any]) -> None:
    async with make(cache=Shelf(broken=True)) as client:
        assert (await client.create(**params)).text


# ---------------------------------------------------------------------- refusal


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_refusal_is_an_answer_unless_another_model_may_be_asked(
    simulator: Simulator, make: Any, params: dict[str, Any], streamed: bool
) -> None:
    async def ask(client: llm.Client) -> llm.Answer:
        return await (client.stream(**params).final() if streamed else client.create(**params))

    simulator.always("refusal", model=SONNET)
    async with make() as client:
        answer = await ask(client)
        assert (answer.stop_reason, answer.text, answer.model) == ("refusal", "", SONNET)
    async with make(fallback_on_refusal=True) as client:
        answer = await ask(client)
        assert (answer.stop_reason, answer.model) == ("end_turn", HAIKU)
        simulator.always("refusal", model=HAIKU)
        assert (await ask(client)).stop_reason == "refusal"


async def test_an_answer_cut_by_max_tokens_says_so(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    async with make() as client:
        assert (await client.create(**{**params, "max_tokens": 10})).truncated
        assert not (await client.create(**params)).truncated


# ---------------------------------------------------------------------- secrets

KEY = "sk-ant-canary-0c1d2e3f4a5b"
WORDS = ("canarinho-9f8e7d", "segredo-do-cliente-4421")


async def test_neither_key_nor_prompt_get_out(simulator: Simulator, log: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    params: dict[str, Any] = {
        "max_tokens": 400,
        "system": f"Guarde {WORDS[0]}.",
        "messages": [{"role": "user", "content": f"Sobre {WORDS[1]}, vale a pena?"}],
    }
    echo = f"bad value '{WORDS[1]}' in {WORDS[0]} for key {KEY}: Field required"
    faults: list[Any] = [
        {"kind": "status", "status": 400, "message": echo},
        {"kind": "status", "status": 529, "message": echo},
        {"kind": "sse_error", "message": echo, "after": 3},
        {"kind": "sse_error", "message": echo, "after": 0},
        "html502",
        "hang",
        "midrst",
        "badsse",
        "midclean",
    ]
    told: list[str] = []
    log.runtime.events.subscribe(lambda event: told.append(repr(event)))
    client = llm.Client(
        KEY, base_url=simulator.url, attempts=1, models=(SONNET,), timeout=0.3, first_content_timeout=0.3,
        failures=1000, runtime=log.runtime,
    )  # fmt: skip
    async with client:
        told += [repr(client), str(client), repr(client.options), repr(await client.check())]
        for fault in faults:
            for streamed in (False, True):
                simulator.script(fault)
                stream = client.stream(**params)
                try:
                    answer = await (stream.final() if streamed else client.create(**params))
                    told += [repr(answer), repr(answer.attempts)]
                except LlmError as error:
                    told += [repr(error), str(error), repr(error.attempts)]
                    told += [repr(vars(error) | {"partial": None})]
                    told.append("".join(traceback.format_exception(error)))
                    told.append(repr((error.__cause__, error.__context__)))
                    again = pickle.loads(pickle.dumps(error))
                    same = (again.code, again.attempts) == (error.code, error.attempts)
                    told.append(f"pickled well: {same}")
                    told.append(repr(pickle.dumps(error.attempts)))
                told.append(repr(stream))
                simulator.reset()
    told.append(caplog.text)
    sink = io.StringIO("\n".join(told)).getvalue()
    assert "invalid_request" in sink
    assert "pickled well: False" not in sink
    assert "Field required" in sink, "what the API says is told, without what it quotes"
    for canary in (KEY, *WORDS):
        assert canary not in sink


# ------------------------------------------------------------------- lifetimes


async def test_cancelling_closes_the_connection(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.always("hang")
    async with make() as client:
        task = asyncio.ensure_future(client.create(**params))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen = await asyncio.to_thread(simulator.wait_until_idle, sockets=0)
        assert seen.aborted == 1
        simulator.always("ok")
        assert (await client.create(**params)).text


async def test_leaving_a_stream_closes_its_connection(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any]
) -> None:
    simulator.always({"delay": 0.02})
    async with make() as client:
        async with client.stream(**params) as stream:
            async for _ in stream.text:
                break
            with pytest.raises(RuntimeError, match="not whole yet"):
                _ = stream.answer
        with pytest.raises(RuntimeError, match="closed"):
            await stream.read()
        seen = await asyncio.to_thread(simulator.wait_until_idle, sockets=0)
    assert seen.aborted == 1
    assert [event.outcome for event in log.finished] == ["closed"]


async def test_a_break_is_no_end_while_the_stream_is_open(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    async with make() as client, client.stream(**params) as stream:
        first = ""
        async for text in stream.text:
            first = text
            break
        answer = await stream.final()
    assert answer.text.startswith(first)
    assert len(answer.attempts) == 1


async def test_a_closed_client_says_so(simulator: Simulator, make: Any, params: dict[str, Any]) -> None:
    client = make()
    async with client:
        await client.create(**params)
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await client.create(**params)


async def test_health_is_told_without_a_request(simulator: Simulator, make: Any) -> None:
    async with make() as client:
        check = await client.check()
        assert (client.name, check.status) == ("llm", "up")
        client.breakers[SONNET].isolate()
        check = await client.check()
        assert check.status == "degraded"
        assert SONNET in check.reason
    assert simulator.counters.requests == 0


async def test_a_call_is_told_with_its_genai_attributes(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any]
) -> None:
    simulator.script("529")
    async with make() as client:
        await client.create(**params)
    failed, passed = (event.attributes() for event in log.attempts)
    assert failed["error.type"] == "overloaded"
    assert failed["http.response.status_code"] == 529
    assert passed["http.request.resend_count"] == 1
    done = log.finished[0].attributes()
    assert done["gen_ai.request.model"] == done["gen_ai.response.model"] == SONNET
    assert done["gen_ai.usage.output_tokens"] > 0
    assert len({event.call_id for event in (*log.attempts, *log.finished)}) == 1
