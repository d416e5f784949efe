"""Every fault of the simulator, through create, stream and the middleware."""

import asyncio
import time
from typing import Any

import anthropic
import pytest

from prodkit import LlmError, llm
from prodkit.testing.anthropic import Simulator

pytestmark = pytest.mark.integration

SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"
SHORT = {
    "stall_timeout": 0.2,
    "first_content_timeout": 0.3,
    "attempt_timeout": 0.4,
    "timeout": 5,
    "failures": 100,
}

RETRIED = [
    ("529", "overloaded"),
    ("500", "server_error"),
    ("502", "server_error"),
    ("503", "server_error"),
    ("504", "server_error"),
    ("html502", "server_error"),
    ("html200", "bad_response"),
    ("badjson", "bad_response"),
    ("err200", "overloaded"),
    ("shortbody", "connection"),
    ("rst0", "connection"),
    ("mid_reset", "connection"),
    ("hang", "attempt_timeout"),
    ("mid_stall", "attempt_timeout"),
    ("no_content", "bad_response"),
    ("429", "rate_limited"),
    ("408", "request_timeout"),
    ("409", "conflict"),
]
REFUSED = [
    ("400", "invalid_request"),
    ("401", "authentication"),
    ("402", "billing"),
    ("403", "permission"),
    ("413", "too_large"),
    ("422", "invalid_request"),
    ("spend", "spend_limit"),
]
STREAM_FAULTS = [
    ("529", "overloaded"),
    ("html200", "bad_response"),
    ("err200", "overloaded"),
    ("rst0", "connection"),
    ("hang", "first_content_timeout"),
    ("err1", "overloaded"),
    ("miderr", "overloaded"),
    ("miderr-api_error", "server_error"),
    ("midrst", "connection"),
    ("mideof", "connection"),
    ("midclean", "truncated"),
    ("badsse", "bad_response"),
    ("stall", "stall_timeout"),
    ("pingstall", "stall_timeout"),
    ("pingonly", "first_content_timeout"),
    ("comment_only", "first_content_timeout"),
    ("empty_stream", "truncated"),
    ("json_stream", "bad_response"),
]


def _counted(simulator: Simulator, log: Any) -> int:
    seen = simulator.wait_until_idle()
    assert seen.requests == len(log.attempts), "one llm.attempt for each request"
    return seen.requests


@pytest.mark.parametrize(("fault", "code"), RETRIED)
async def test_create_tries_again(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any], fault: str, code: str
) -> None:
    simulator.script(fault)
    async with make(**SHORT) as client:
        answer = await client.create(**params)
    assert [attempt.outcome for attempt in answer.attempts] == [code, "ok"]
    assert (answer.model, answer.stop_reason) == (SONNET, "end_turn")
    assert answer.raw.content[0].text == answer.text
    assert await asyncio.to_thread(_counted, simulator, log) == 2


@pytest.mark.parametrize(("fault", "code"), REFUSED)
async def test_create_does_not_ask_again_nor_elsewhere_what_cannot_succeed(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any], fault: str, code: str
) -> None:
    simulator.always(fault)
    async with make(failures=1) as client:
        with pytest.raises(LlmError) as raised:
            await client.create(**params)
        assert client.breakers[SONNET].state == "closed"
    assert raised.value.code == code
    assert len(raised.value.attempts) == await asyncio.to_thread(_counted, simulator, log) == 1


async def test_a_retired_model_is_asked_once_and_the_operator_is_alerted(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any]
) -> None:
    simulator.configure(SONNET, unknown=True)
    async with make() as client:
        answer = await client.create(**params)
    assert (answer.model, answer.requested_model, answer.fell_back) == (HAIKU, SONNET, True)
    assert [attempt.alert for attempt in log.attempts] == [True, False]
    assert log.attempts[1].fallback_from == SONNET


async def test_three_attempts_then_the_next_model(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any]
) -> None:
    simulator.always("529", model=SONNET)
    async with make() as client:
        answer = await client.create(**params)
    assert [attempt.model for attempt in answer.attempts] == [SONNET] * 3 + [HAIKU]
    assert answer.model == HAIKU
    assert await asyncio.to_thread(_counted, simulator, log) == 4


async def test_the_error_lists_every_attempt(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any]
) -> None:
    simulator.always("529")
    async with make() as client:
        with pytest.raises(LlmError, match=r"overloaded.*claude-sonnet-5-5: .*claude-haiku-5-5: ") as raised:
            await client.create(**params)
    assert len(raised.value.attempts) == await asyncio.to_thread(_counted, simulator, log) == 6
    assert str(raised.value.__cause__) == "overloaded_error: Overloaded"
    assert raised.value.__context__ is None
    assert log.finished[0].outcome == "overloaded"


@pytest.mark.parametrize("continuation", ["anchor", "exact", "restart"])
@pytest.mark.parametrize(("fault", "code"), STREAM_FAULTS)
async def test_a_stream_is_continued(
    simulator: Simulator,
    make: Any,
    log: Any,
    params: dict[str, Any],
    fault: str,
    code: str,
    continuation: str,
) -> None:
    simulator.continuation(continuation)
    got = ""
    async with make(**SHORT) as client:
        whole = (await client.create(**params)).text
        simulator.script(fault)
        async with client.stream(**params) as stream:
            async for text in stream.text:
                got += text
        answer = stream.answer
    assert got == whole == answer.text
    assert [attempt.outcome for attempt in answer.attempts] == [code, "ok"]
    assert answer.stop_reason == "end_turn"
    assert answer.raw.content[0].text == whole
    assert await asyncio.to_thread(_counted, simulator, log) == 3
    sent = simulator.requests[-1].body["messages"]
    assert sent[-1]["role"] == "user", "never by prefill"


@pytest.mark.parametrize("fault", ["midrst", "midclean", "badsse", "stall"])
async def test_a_stream_that_cannot_be_continued_fails_with_what_has_arrived(
    simulator: Simulator, make: Any, params: dict[str, Any], fault: str
) -> None:
    got = ""
    async with make(**SHORT, attempts=1, models=(SONNET,)) as client:
        whole = (await client.create(**params)).text
        simulator.script(fault)
        with pytest.raises(LlmError) as raised:
            async with client.stream(**params) as stream:
                async for text in stream.text:
                    got += text
        partial = raised.value.partial
        assert partial == {"role": "assistant", "content": [{"type": "text", "text": got}]}
        assert whole.startswith(got)
        assert got
        # The partial message is safe to send back.
        again = await client.create(
            max_tokens=400, messages=[*params["messages"], partial, {"role": "user", "content": "Siga."}]
        )
        assert again.text


async def test_a_message_in_events_without_names_is_understood(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.script("data_only", "no_usage")
    async with make() as client:
        for _ in range(2):
            async with client.stream(**params) as stream:
                answer = await stream.final()
            assert answer.stop_reason == "end_turn"


async def test_usage_and_cost_are_summed_over_the_attempts(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    prices = {SONNET: llm.Price(3, 15), HAIKU: llm.Price(1, 5)}
    simulator.script({"kind": "mid_eof", "after": 20})
    async with make(prices=prices) as client, client.stream(**params) as stream:
        answer = await stream.final()
    first, second = answer.attempts
    assert first.usage.estimated
    assert first.usage.input_tokens > 0
    assert first.usage.output_tokens >= 30
    assert answer.usage == first.usage + second.usage
    assert answer.cost == pytest.approx(sum(attempt.cost or 0 for attempt in answer.attempts))
    assert answer.raw.usage.input_tokens == answer.usage.input_tokens


THOUGHT = {"type": "thinking", "thinking": "Let me see what there is", "signature": "signed"}
TOOL = {
    "type": "tool_use",
    "id": "toolu_1",
    "name": "look",
    "input": {"where": "caderno " * 6, "n": [1, 2, 3]},
}
BLOCKS = [THOUGHT, {"type": "text", "text": "I will look it up for you."}, TOOL]


@pytest.mark.parametrize("after", [0, 1, 4, 6, 7, 10, 14, 17, 20, 23])
async def test_thinking_and_tool_calls_are_whole_or_not_there(
    simulator: Simulator, make: Any, params: dict[str, Any], after: int
) -> None:
    simulator.always({"content": BLOCKS})
    simulator.script({"kind": "mid_reset", "content": BLOCKS, "after": after})
    async with make() as client, client.stream(**params) as stream:
        answer = await stream.final()
    kinds = [block["type"] for block in answer.content]
    assert kinds == ["thinking", "text", "tool_use"]
    assert answer.text == BLOCKS[1]["text"]
    assert answer.content[0] == THOUGHT
    assert answer.content[-1]["input"] == TOOL["input"]
    assert answer.stop_reason == "tool_use"
    for request in simulator.requests:
        for message in request.body["messages"]:
            if message["role"] == "assistant":
                assert [block["type"] for block in message["content"]] == ["text"]


async def test_structured_output_is_not_continued(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.script("midrst")
    form = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    async with make() as client, client.stream(**params, output_config=form) as stream:
        with pytest.raises(LlmError) as raised:
            await stream.final()
    assert raised.value.partial
    assert simulator.counters.requests == 1


# ---------------------------------------------------------------------- time


async def test_retry_after_of_two_minutes_goes_to_the_other_model_at_once(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.script("ra-120", model=SONNET)
    async with make() as client:
        begun = time.monotonic()
        answer = await client.create(**params)
        assert time.monotonic() - begun < 1
        assert answer.model == HAIKU
        for _ in range(5):
            assert (await client.create(**params)).model == HAIKU
        assert client.breakers[SONNET].state == "closed"
        check = await client.check()
        cooling: Any = check.details["cooling"]
        assert 110 < cooling[SONNET] <= 120
    assert simulator.counters.by_model == {SONNET: 1, HAIKU: 6}


async def test_retry_after_that_fits_is_waited_for(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.script("ra-0.3", model=SONNET)
    async with make() as client:
        answer = await client.create(**params)
    assert [attempt.model for attempt in answer.attempts] == [SONNET, SONNET]
    assert answer.attempts[1].wait_reason == "retry_after"
    first, second = simulator.requests
    assert first.finished_at is not None
    assert 0.29 <= second.at - first.finished_at <= 0.55


async def test_without_a_fallback_a_long_retry_after_fails_at_once(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.script("ra-120")
    async with make(models=(SONNET,)) as client:
        begun = time.monotonic()
        with pytest.raises(LlmError) as raised:
            await client.create(**params)
        with pytest.raises(llm.LlmRateLimitedError) as refused:
            await client.create(**params)
        assert time.monotonic() - begun < 0.5
    assert raised.value.code == "rate_limited"
    assert raised.value.retry_after == pytest.approx(120, abs=2)
    assert refused.value.retry_after == pytest.approx(120, abs=2)
    assert simulator.counters.requests == 1


@pytest.mark.parametrize("fault", ["hang", "mid_stall", {"kind": "drip", "seconds": 0.02}])
async def test_the_total_limit_holds(
    simulator: Simulator, make: Any, params: dict[str, Any], fault: Any
) -> None:
    simulator.always(fault)
    async with make(timeout=0.5) as client:
        begun = time.monotonic()
        with pytest.raises(llm.LlmTimeoutError) as raised:
            await client.create(**params)
        assert 0.5 <= time.monotonic() - begun <= 0.6
    assert isinstance(raised.value, TimeoutError)


async def test_the_deadline_holds_too_and_is_called_by_its_name(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    from prodkit import Deadline, DeadlineExceededError

    simulator.always("hang")
    async with make(failures=1) as client:
        for streamed in (False, True):
            begun = time.monotonic()
            with pytest.raises(DeadlineExceededError), Deadline.after(0.3):
                if streamed:
                    await client.stream(**params).final()
                else:
                    await client.create(**params)
            assert 0.3 <= time.monotonic() - begun <= 0.4
        assert client.breakers[SONNET].state == "closed", "the caller's hurry is not the model's fault"


@pytest.mark.parametrize(
    ("fault", "code", "limit"),
    [
        ("pingonly", "first_content_timeout", 0.4),
        ("comment_only", "first_content_timeout", 0.4),
        ("hang", "first_content_timeout", 0.4),
        ("stall", "stall_timeout", 0.3),
        ("pingstall", "stall_timeout", 0.3),
    ],
)
async def test_silence_is_noticed_in_time_and_pings_are_silence(
    simulator: Simulator, make: Any, params: dict[str, Any], fault: str, code: str, limit: float
) -> None:
    simulator.always(fault)
    async with make(first_content_timeout=0.4, stall_timeout=0.3, attempts=1, models=(SONNET,)) as client:
        begun = time.monotonic()
        with pytest.raises(LlmError) as raised:
            async with client.stream(**params) as stream:
                async for _ in stream.text:
                    begun = time.monotonic()
        assert limit - 0.01 <= time.monotonic() - begun <= limit + 0.15
    assert raised.value.code == code


async def test_a_slow_reader_is_not_a_stall(simulator: Simulator, make: Any, params: dict[str, Any]) -> None:
    simulator.always({"delay": 0.01})
    async with make(stall_timeout=0.1) as client, client.stream(**params) as stream:
        count = 0
        async for _ in stream.text:
            count += 1
            if count % 10 == 0:
                await asyncio.sleep(0.25)
    assert len(stream.answer.attempts) == 1


# --------------------------------------------------------------------- breaker


async def test_the_breaker_opens_on_the_fifth_failed_request(
    simulator: Simulator, make: Any, log: Any, params: dict[str, Any]
) -> None:
    simulator.always("529")
    async with make(models=(SONNET,), open_for=300) as client:
        with pytest.raises(LlmError):
            await client.create(**params)  # three requests
        with pytest.raises(LlmError):
            await client.create(**params)  # two more, and then it is open
        assert simulator.counters.requests == 5
        assert client.breakers[SONNET].state == "open"
        begun = time.perf_counter()
        for _ in range(100):
            with pytest.raises(llm.LlmCircuitOpenError) as raised:
                await client.create(**params)
        assert (time.perf_counter() - begun) / 100 < 0.001
        assert 299 < (raised.value.retry_after or 0) <= 300
        assert (await client.check()).status == "down"
    assert simulator.counters.requests == 5


async def test_one_probe_for_a_hundred_callers(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.script(*["529"] * 5, model=SONNET)
    async with make(open_for=0.2, attempts=5, models=(SONNET,)) as client:
        with pytest.raises(LlmError):
            await client.create(**params)
        assert client.breakers[SONNET].state == "open"
        simulator.always({"seconds": 0.3}, model=SONNET)
        await asyncio.sleep(0.25)
        results = await asyncio.gather(*(client.create(**params) for _ in range(100)), return_exceptions=True)
        assert sum(isinstance(result, llm.Answer) for result in results) == 1
        assert sum(isinstance(result, llm.LlmCircuitOpenError) for result in results) == 99
        assert client.breakers[SONNET].state == "closed"
    assert simulator.counters.requests == 6


async def test_a_cancelled_probe_gives_its_slot_back(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.script(*["529"] * 5)
    async with make(open_for=0.1, attempts=5, models=(SONNET,)) as client:
        with pytest.raises(LlmError):
            await client.create(**params)
        await asyncio.sleep(0.15)
        simulator.always("hang")
        probe = asyncio.ensure_future(client.create(**params))
        await asyncio.sleep(0.1)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        simulator.always("ok")
        assert (await client.create(**params)).text


# ---------------------------------------------------------------- rate limits


async def test_a_rate_limit_learned_from_headers_is_kept(
    simulator: Simulator, make: Any, params: dict[str, Any], log: Any
) -> None:
    simulator.limit(600)
    async with make(models=(SONNET,), timeout=60) as client:
        await client.start()
        begun = time.monotonic()
        await asyncio.gather(*(client.create(**params) for _ in range(660)))
        took = time.monotonic() - begun
    # A client cannot know what the server counted while a response was on its way: on a machine that stalls, that much
    # more may be refused. The paced requests go out one by one, and take milliseconds otherwise.
    slowest = max(attempt.duration for attempt in log.attempts[600:])
    assert simulator.counters.by_status.get("429", 0) <= 1 + int(slowest * 10)
    allowed = 600 + took * 10
    assert 0.95 * allowed - 5 <= 660, f"{took:.1f} s for 660 requests at 600 a minute"


# ------------------------------------------------------------------ middleware


@pytest.fixture
def bare(simulator: Simulator, log: Any) -> Any:
    def made(**options: Any) -> anthropic.AsyncAnthropic:
        middleware = llm.ResilienceMiddleware(**{"backoff": 0.01, "runtime": log.runtime, **SHORT, **options})
        return anthropic.AsyncAnthropic(
            api_key="sk-test", base_url=simulator.url, max_retries=0, middleware=[middleware]
        )

    return made


@pytest.mark.parametrize(
    ("fault", "code"), [(fault, code) for fault, code in STREAM_FAULTS if fault != "hang"]
)
async def test_the_middleware_continues_streams_under_the_sdks_helper(
    simulator: Simulator, bare: Any, log: Any, params: dict[str, Any], fault: str, code: str
) -> None:
    async with bare() as client:
        whole = (await client.messages.create(model=SONNET, **params)).content[0].text
        simulator.script(fault)
        async with client.messages.stream(model=SONNET, **params) as stream:
            got = "".join([text async for text in stream.text_stream])
            message = await stream.get_final_message()
    assert got == whole == message.content[0].text
    assert message.stop_reason == "end_turn"
    assert [attempt.outcome for attempt in log.attempts] == ["ok", code, "ok"]
    assert await asyncio.to_thread(_counted, simulator, log) == 3


@pytest.mark.parametrize("after", [0, 3, 6, 7, 12, 20])
async def test_the_middleware_sends_no_half_of_a_tool_call(
    simulator: Simulator, bare: Any, params: dict[str, Any], after: int
) -> None:
    simulator.always({"content": BLOCKS})
    simulator.script({"kind": "mid_reset", "content": BLOCKS, "after": after})
    async with bare() as client, client.messages.stream(model=SONNET, **params) as stream:
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert message.content[0].signature == "signed"
    assert message.content[1].text == BLOCKS[1]["text"]
    assert message.content[2].input == TOOL["input"]


async def test_the_middleware_falls_back_and_raises_the_sdks_own_errors(
    simulator: Simulator, bare: Any, params: dict[str, Any]
) -> None:
    async with bare() as client:
        simulator.always("529", model=SONNET)
        message = await client.messages.create(model=SONNET, **params)
        assert message.model == HAIKU
        simulator.always("400")
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.create(model=HAIKU, **params)
        with pytest.raises(anthropic.BadRequestError):
            async with client.messages.stream(model=HAIKU, **params) as stream:
                await stream.get_final_message()
        simulator.always("hang")
        with pytest.raises(LlmError):
            await client.messages.create(model=HAIKU, **params)
    await asyncio.to_thread(simulator.wait_until_idle, sockets=0)


async def test_other_requests_pass_the_middleware_untouched(simulator: Simulator, bare: Any) -> None:
    async with bare() as client:
        models = await client.models.list()
        assert any(model.id == SONNET for model in models.data)
        count = await client.messages.count_tokens(model=SONNET, messages=[{"role": "user", "content": "oi"}])
        assert count.input_tokens > 0


async def test_the_middleware_refuses_a_client_that_retries(
    simulator: Simulator, params: dict[str, Any]
) -> None:
    middleware = llm.ResilienceMiddleware()
    async with anthropic.AsyncAnthropic(
        api_key="k", base_url=simulator.url, middleware=[middleware]
    ) as client:
        with pytest.raises(ValueError, match="max_retries=0"):
            await client.messages.create(model=SONNET, **params)
        with pytest.raises(ValueError, match="max_retries=0"):
            await client.with_options(max_retries=3).messages.create(model=SONNET, **params)
        # The one call that was made right passes.
        assert await client.with_options(max_retries=0).messages.create(model=SONNET, **params)
    assert simulator.counters.requests == 1
