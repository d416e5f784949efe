"""When what is asked, on virtual time."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from prodkit import Deadline, LlmError, llm
from prodkit.testing import virtual_time

SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"
P: dict[str, Any] = {"max_tokens": 100, "messages": [{"role": "user", "content": "oi"}]}


def test_three_attempts_wait_one_and_two_seconds(faked: Any) -> None:
    client, wire = faked(529, 529, 529, 529, 529, 529)

    @virtual_time
    async def run() -> None:
        with pytest.raises(LlmError) as raised:
            await client.create(**P)
        assert asyncio.get_running_loop().time() == 6, "no wait after the last failure"
        assert [attempt.waited for attempt in raised.value.attempts] == [0, 1, 2, 0, 1, 2]
        assert [attempt.wait_reason for attempt in raised.value.attempts] == ["", "backoff", "backoff"] * 2

    run()
    assert wire.sent == [(0, SONNET), (1, SONNET), (3, SONNET), (3, HAIKU), (4, HAIKU), (6, HAIKU)]


def test_four_attempts_wait_one_two_and_four_seconds(faked: Any) -> None:
    client, wire = faked(500, 500, 500, attempts=4)
    answer = virtual_time(client.create(**P))
    assert [at for at, _ in wire.sent] == [0, 1, 3, 7]
    assert answer.text == "sim"


def test_each_wait_is_an_event_before_it_is_waited_in_the_context_of_the_caller(faked: Any) -> None:
    client, _ = faked(529, 429, 529, 200)
    asked: ContextVar[str] = ContextVar("asked", default="")
    seen: list[tuple[float, str, str, int, int, float, str, str]] = []

    def heard(event: llm.LlmScheduled) -> None:
        at = asyncio.get_running_loop().time()
        seen.append(
            (
                at,
                asked.get(),
                event.model,
                event.attempt,
                event.attempts,
                event.wait,
                event.reason,
                event.after,
            )
        )

    client.runtime.events.subscribe(heard, llm.LlmScheduled)

    @virtual_time
    async def run() -> None:
        asked.set("seat 3")
        await client.create(**P)

    run()
    assert seen == [
        (0, "seat 3", SONNET, 2, 3, 1.0, "backoff", "overloaded"),
        (1, "seat 3", SONNET, 3, 3, 2.0, "backoff", "rate_limited"),
    ]


def test_jitter_stays_below_the_schedule(faked: Any) -> None:
    client, wire = faked(500, 500, jitter=True)
    virtual_time(client.create(**P))
    first, second, third = (at for at, _ in wire.sent)
    assert 0 < second - first < 1
    assert 0 < third - second < 2


def test_a_retry_that_does_not_fit_the_deadline_is_not_waited_for(faked: Any) -> None:
    client, wire = faked(529, 529, models=(SONNET,))

    @virtual_time
    async def run() -> None:
        with Deadline.after(2.5), pytest.raises(LlmError) as raised:
            await client.create(**P)
        assert raised.value.code == "overloaded", "the last failure says more than the clock"
        assert asyncio.get_running_loop().time() == 1

    run()
    assert len(wire.sent) == 2


def test_a_retry_that_does_not_fit_leaves_time_for_the_other_model(faked: Any) -> None:
    client, wire = faked(529, 529)

    @virtual_time
    async def run() -> None:
        with Deadline.after(2.5):
            answer = await client.create(**P)
        assert answer.model == HAIKU

    run()
    assert wire.sent == [(0, SONNET), (1, SONNET), (1, HAIKU)]


def test_retry_after_is_never_undercut_and_pauses_the_model_for_its_whole_time(faked: Any) -> None:
    client, wire = faked((429, {"retry-after": "120"}))

    @virtual_time
    async def run() -> None:
        assert (await client.create(**P)).model == HAIKU
        await asyncio.sleep(119)
        # One second is less than we are ready to wait: the better model is worth it.
        assert (await client.create(**P)).model == SONNET

    run()
    assert wire.sent == [(0, SONNET), (0, HAIKU), (120, SONNET)]


@pytest.mark.parametrize("header", ["nan", "inf", "-5", "soon", ""])
def test_nonsense_in_retry_after_is_no_retry_after(faked: Any, header: str) -> None:
    client, wire = faked((429, {"retry-after": header}))
    virtual_time(client.create(**P))
    assert [at for at, _ in wire.sent] == [0, 1]


def test_retry_after_of_an_overload_is_honoured(faked: Any) -> None:
    client, wire = faked((529, {"retry-after": "7"}))
    virtual_time(client.create(**P))
    assert wire.sent == [(0, SONNET), (7, SONNET)]


def test_the_total_limit_covers_everything(faked: Any) -> None:
    client, _ = faked(529, 55.0, 55.0, timeout=60)

    @virtual_time
    async def run() -> None:
        answer = await client.create(**P)  # 1 s and 55 s
        assert answer.text
        with pytest.raises(llm.LlmTimeoutError):
            await client.create(**P, timeout=20)
        assert asyncio.get_running_loop().time() == 76

    run()


def test_an_attempt_may_have_a_limit_of_its_own(faked: Any) -> None:
    client, wire = faked(55.0, attempt_timeout=10)
    virtual_time(client.create(**P))
    assert wire.sent == [(0, SONNET), (11, SONNET)]


def test_a_timeout_counts_for_the_breaker_only_when_the_attempt_had_the_time(faked: Any) -> None:
    client, _ = faked(100.0, 529, 100.0, failures=2, timeout=60, models=(SONNET,))

    @virtual_time
    async def run() -> None:
        with pytest.raises(llm.LlmTimeoutError):
            await client.create(**P)
        assert client.breakers[SONNET].state == "closed"
        with pytest.raises(LlmError):  # the second failure opens it
            await client.create(**P)
        assert client.breakers[SONNET].state == "open"

    run()


def test_an_open_breaker_is_left_for_the_other_model_and_probed_once_when_it_is_time(faked: Any) -> None:
    client, wire = faked(*[529] * 5, attempts=5)

    @virtual_time
    async def run() -> None:
        assert (await client.create(**P)).model == HAIKU
        opened = asyncio.get_running_loop().time()
        assert client.breakers[SONNET].state == "open"
        assert (await client.create(**P)).model == HAIKU
        await asyncio.sleep(300)
        wire.steps = [1.0]  # the probe takes a second
        answers = await asyncio.gather(*(client.create(**P) for _ in range(10)))
        assert [answer.model for answer in answers].count(SONNET) == 1
        assert (await client.create(**P)).model == SONNET
        assert opened == 1 + 2 + 4 + 8

    run()
    assert len([1 for _, model in wire.sent if model == SONNET]) == 7


def test_two_hundred_calls_at_fifty_a_minute_keep_the_rate_and_use_it(faked: Any) -> None:
    """The server's own bucket, in virtual time: 50 requests a minute, refilled continuously."""
    client, wire = faked(models=(SONNET,), timeout=600)
    level, seen, refused = 50.0, 0.0, 0

    async def send(params: Any, stream: bool) -> Any:
        nonlocal level, seen, refused
        await asyncio.sleep(0.05)
        now = asyncio.get_running_loop().time()
        level, seen = min(50.0, level + (now - seen) * 50 / 60), now
        ok = level >= 1
        level -= ok
        refused += not ok
        wire.steps = [
            (
                200 if ok else 429,
                {
                    "anthropic-ratelimit-requests-limit": "50",
                    "anthropic-ratelimit-requests-remaining": str(int(level)),
                }
                | ({} if ok else {"retry-after": "2"}),
            )
        ]
        reply = await type(wire).send(wire, params, stream)
        await asyncio.sleep(2)
        return reply

    client._engine.states[0].provider = type("Limited", (), {"name": "limited", "send": staticmethod(send)})()

    @virtual_time
    async def run() -> None:
        await asyncio.gather(*(client.create(**P) for _ in range(200)))
        took = asyncio.get_running_loop().time() - 2
        assert 0.95 * (50 + took * 50 / 60) <= 200, f"{took:.0f} s"

    run()
    assert refused <= 1


def test_waiters_who_are_cancelled_leave_their_share_of_the_rate(faked: Any) -> None:
    client, wire = faked(models=(SONNET,), timeout=100)
    headers = {"anthropic-ratelimit-requests-limit": "60", "anthropic-ratelimit-requests-remaining": "0"}
    wire.steps = [(200, headers)] + [200] * 10

    @virtual_time
    async def run() -> None:
        await client.create(**P)
        waiting = [asyncio.ensure_future(client.create(**P)) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in waiting[:4]:
            task.cancel()
        await asyncio.wait(waiting)
        later = asyncio.get_running_loop().time()
        await client.create(**P)
        assert asyncio.get_running_loop().time() - later < 1.1

    run()


@pytest.mark.parametrize("error", [RuntimeError("client has been closed"), ValueError("bad image")])
def test_our_own_mistakes_do_not_count_and_are_not_tried_again(faked: Any, error: Exception) -> None:
    client, wire = faked(error, failures=1)

    @virtual_time
    async def run() -> None:
        with pytest.raises(LlmError) as raised:
            await client.create(**P)
        assert raised.value.code in ("closed", "local")
        assert client.breakers[SONNET].state == "closed"

    run()
    assert len(wire.sent) == 1


def test_a_stream_renews_its_attempts_while_text_arrives(faked: Any, reply: Any) -> None:
    """Five breaks in one long answer are mended when each attempt brings new text."""

    def event(data: str) -> bytes:
        kind = data.split('"')[3]
        return f"event: {kind}\ndata: {data}\n\n".encode()

    def piece(text: str, last: bool) -> Any:
        start = event(
            '{"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}}'
        )
        body = [
            start,
            event(
                '{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}'
            ),
            event(
                f'{{"type": "content_block_delta", "index": 0, "delta": {{"type": "text_delta", "text": "{text}"}}}}'
            ),
        ]
        if last:
            body += [
                event('{"type": "content_block_stop", "index": 0}'),
                event(
                    '{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}'
                ),
                event('{"type": "message_stop"}'),
            ]
        return reply(200, {"content-type": "text/event-stream"}, body)

    words = ["um ", "dois ", "três ", "quatro ", "cinco ", "seis."]
    client, wire = faked(
        *(piece(word, last=word == "seis.") for word in words), models=(SONNET,), failures=50
    )

    @virtual_time
    async def run() -> None:
        answer = await client.stream(**P).final()
        assert answer.text == "um dois três quatro cinco seis."
        assert [attempt.outcome for attempt in answer.attempts] == ["truncated"] * 5 + ["ok"]

    run()
    assert len(wire.sent) == 6
