import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from prodkit import Deadline, RateLimitedError, Runtime
from prodkit.policies import RetryAfterGate, retry_after_of
from prodkit.policies.gate import GateClosed, GatePassed
from prodkit.testing import virtual_time

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class Throttled(Exception):
    def __init__(self, retry_after: object = None) -> None:
        super().__init__("429")
        self.retry_after = retry_after


class Response:
    def __init__(self, **headers: str) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class HttpError(Exception):
    def __init__(self, response: Response) -> None:
        super().__init__("429")
        self.response = response


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [
        (3, 3.0),
        (0.5, 0.5),
        (timedelta(minutes=2), 120.0),
        ("3", 3.0),
        (" 1.5 ", 1.5),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30.0),
        ("Sun, 01 Mar 2026 12:00:10 -0000", 10.0),
        (format_datetime(NOW - timedelta(seconds=30), usegmt=True), 0.0),
        (-4, 0.0),
        (None, None),
        ("soon", None),
        ("", None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        ("inf", None),
        (object(), None),
    ],
)
def test_retry_after_in_all_its_forms(hint: object, seconds: float | None) -> None:
    assert retry_after_of(Throttled(hint), NOW) == seconds


def test_retry_after_of_a_response() -> None:
    assert retry_after_of(HttpError(Response(retry_after="7")), NOW) == 7
    assert retry_after_of(HttpError(Response(Retry_After="8")), NOW) == 8
    assert retry_after_of(HttpError(Response()), NOW) is None
    assert retry_after_of(ValueError(), NOW) is None


class Quota:
    """Refuses everything until `opens`, and remembers who came when."""

    def __init__(self, opens: float) -> None:
        self.opens = opens
        self.came: list[float] = []

    async def __call__(self) -> int:
        now = asyncio.get_running_loop().time()
        self.came.append(now)
        await asyncio.sleep(0)
        if now < self.opens:
            raise Throttled(self.opens - now)
        return len(self.came)


@virtual_time
async def test_one_refusal_holds_everybody_back_and_then_they_go_at_a_pace() -> None:
    gate, quota = RetryAfterGate("q", margin=0), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    assert gate.not_before == 10
    await asyncio.gather(*(gate.run(quota) for _ in range(4)))
    assert quota.came[0] == 0
    assert quota.came[1] == 10
    gaps = [after - before for before, after in zip(quota.came[1:], quota.came[2:], strict=False)]
    assert gaps == pytest.approx([1.0, 1.0, 1.0], rel=0.05)


@virtual_time
async def test_a_margin_is_added() -> None:
    gate, quota = RetryAfterGate("q", margin=0.1), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    assert gate.not_before == pytest.approx(11)


@virtual_time
async def test_who_would_wait_too_long_is_told_at_once() -> None:
    gate, quota = RetryAfterGate("openai", max_wait=5, margin=0), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    with pytest.raises(RateLimitedError, match="openai is throttled: the next turn is in 10 s") as refused:
        await gate.run(quota)
    assert refused.value.retry_after == 10
    assert refused.value.limit == "openai"
    await asyncio.sleep(5)
    await gate.run(quota)
    assert quota.came == [0, 10]


@virtual_time
async def test_who_would_miss_its_deadline_is_told_at_once() -> None:
    gate, quota = RetryAfterGate(margin=0), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    with Deadline.after(10), pytest.raises(RateLimitedError, match="the dependency is throttled"):
        await gate.run(quota)
    with Deadline.after(10.5):
        await gate.run(quota)
    assert asyncio.get_running_loop().time() == 10


@virtual_time
async def test_a_new_refusal_sends_the_waiting_back_to_wait() -> None:
    gate, quota = RetryAfterGate(margin=0), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    waiting = asyncio.ensure_future(gate.run(quota))
    await asyncio.sleep(9)
    gate.close(11)
    await waiting
    assert quota.came == [0, 20]


@virtual_time
async def test_a_cancelled_waiter_gives_its_place_up() -> None:
    gate, quota = RetryAfterGate(margin=0), Quota(opens=10)
    with pytest.raises(Throttled):
        await gate.run(quota)
    first, second = (asyncio.ensure_future(gate.run(quota)) for _ in range(2))
    await asyncio.sleep(1)
    second.cancel()
    await asyncio.wait((second,))
    third = asyncio.ensure_future(gate.run(quota))
    await asyncio.gather(first, third)
    assert quota.came == [0, 10, pytest.approx(11)]


@virtual_time
async def test_streams_close_the_gate_too() -> None:
    gate = RetryAfterGate(margin=0)

    async def items(fail: bool) -> AsyncIterator[int]:
        yield 1
        if fail:
            raise Throttled(4)

    with pytest.raises(Throttled):
        [item async for item in gate.stream(items, True)]
    assert [item async for item in gate.stream(items, False)] == [1]
    assert asyncio.get_running_loop().time() == 4


@virtual_time
async def test_events() -> None:
    runtime, seen = Runtime(), []
    gate, quota = RetryAfterGate("q", margin=0, runtime=runtime), Quota(opens=10)
    runtime.events.subscribe(seen.append)
    with pytest.raises(Throttled):
        await gate.run(quota)
    await gate.run(quota)
    assert seen == [GateClosed(gate="q", seconds=10), GatePassed(gate="q", waited=10)]


@virtual_time
async def test_errors_without_a_hint_leave_it_open() -> None:
    gate = RetryAfterGate()

    async def broken(hint: object) -> None:
        raise Throttled(hint)

    for hint in (None, 0, "never"):
        with pytest.raises(Throttled):
            await gate.run(broken, hint)
    assert gate.not_before == -float("inf")


def test_wrong_use() -> None:
    with pytest.raises(ValueError, match=r"max_wait=-1.*margin=2"):
        RetryAfterGate(max_wait=-1, margin=2)
    with pytest.raises(TypeError, match="queues tasks"):
        RetryAfterGate()(len)
    assert repr(RetryAfterGate("q")) == "RetryAfterGate('q')"
