from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import Runtime
from prodkit.errors import DeadlineExceededError
from prodkit.ratelimit import Limit, RateLimiter, RateLimitUnchecked, headers, status
from prodkit.ratelimit.algorithms import Log, admit, look, prune, quantum
from prodkit.ratelimit.redis_scripts import TAKE
from prodkit.redis import RedisLink, Script
from prodkit.testing.proxy import Proxy
from prodkit.testing.servers import Redis, redis_binaries

pytestmark = pytest.mark.integration

THREE = Limit("3/min", name="three")
TEN = Limit("10/min", name="ten")


@pytest.fixture(scope="module", params=sorted(redis_binaries()))
def redis_server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """Each test of this file runs on every server that is installed."""
    with Redis(binary=redis_binaries()[request.param]) as server:
        yield server


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    async with RedisLink(redis_url) as link:
        yield link


async def until(condition: Any, limit: float = 5.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.005)


async def test_several_limits_all_or_nothing(link: RedisLink) -> None:
    limiter = RateLimiter(link)
    for left in (2, 1, 0):
        decision = await limiter.check((THREE, "a"), (TEN, "ip"))
        assert decision.allowed
        assert decision.source == "redis"
        assert decision.remaining == left
    refused = await limiter.check((THREE, "a"), (TEN, "ip"))
    assert refused.violated == (THREE,)
    assert 59 < refused.retry_after <= 60
    assert (await limiter.check((TEN, "ip"), cost=0)).remaining == 7


async def test_two_processes_share(link: RedisLink, redis_url: str) -> None:
    async with RedisLink(redis_url) as other:
        here, there = RateLimiter(link), RateLimiter(other)
        answers = await asyncio.gather(*(each.check((TEN, "a")) for each in (here, there) * 100))
        assert sum(answer.allowed for answer in answers) == 10


async def test_waiting_retry_after_is_enough_and_no_window_holds_more(link: RedisLink) -> None:
    limiter, limit = RateLimiter(link), Limit("5/s", name="burst")
    admitted: list[tuple[float, float]] = []
    ends = time.monotonic() + 4
    while time.monotonic() < ends:
        before = time.monotonic()
        decision = await limiter.check((limit, "a"))
        if decision.allowed:
            admitted.append((before, time.monotonic()))
        else:
            await asyncio.sleep(decision.retry_after)
            assert (await limiter.check((limit, "a"))).allowed
            admitted.append((time.monotonic() - 0.25, time.monotonic()))
    pairs = zip(admitted, admitted[5:], strict=False)
    assert all(late[1] - early[0] >= 1 for early, late in pairs)
    assert len(admitted) >= 15


@pytest.mark.parametrize("amount", [3, 50, 300, 5000])
async def test_the_script_and_its_python_twin_agree(link: RedisLink, amount: int) -> None:
    clock = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n"
    source = TAKE.source
    assert clock in source
    script = Script(source.replace(clock, "local now = tonumber(table.remove(ARGV))\n"))
    rng, log, window = random.Random(amount), Log(), 60_000_000
    slot = quantum(amount, window)
    now = 1_700_000_000_000_000
    await link.run(lambda client: client.set("mark", "m"))
    for _ in range(600):
        now += 1 + int(rng.expovariate(amount / window) * rng.choice((0.2, 1, 5)))
        cost = rng.choice((0, 1, 1, 1, rng.randint(1, amount)))
        reply = await script(link, keys=["log", "mark"], args=[b"m", cost, 1, amount, window, slot, 0, now])
        outlook = look(log, now, amount, window, cost)
        assert bool(reply[0]) == (outlook.wait == 0)
        if outlook.wait or not cost:
            assert tuple(reply[1:5]) == outlook
        else:
            entry = admit(log, now, slot, cost)
            prune(log, now, window)
            more, full = (each[0] + window - now for each in (log.entries[0], entry))
            assert reply[1:] == [outlook.remaining - cost, 0, more, full, entry[0]]


async def test_checks_of_one_tick_are_decided_one_after_the_other(link: RedisLink) -> None:
    """250 checks together are the same as 250 in a row: exact for each caller, all or nothing for each check."""
    limiter = RateLimiter(link, denial_cache=0)
    await limiter.check((THREE, "x"))
    sent = await link.execute("INFO", "commandstats")
    asks = [
        ((THREE, number % 50),) if number % 2 else ((THREE, number % 50), (TEN, "all"))
        for number in range(250)
    ]
    decisions = await asyncio.gather(*(limiter.check(*each) for each in asks))
    calls = _script_calls(await link.execute("INFO", "commandstats")) - _script_calls(sent)
    assert calls <= 4  # the first alone, the others a hundred at a time
    single = [each for each, ask in zip(decisions, asks, strict=True) if len(ask) == 1]
    assert sum(each.allowed for each in single) == 25 * 3
    assert sum(each.allowed for each in decisions if each not in single) == 10
    await limiter.refund(decisions[1])
    assert (await limiter.check((THREE, 1), cost=0)).remaining == 1


def _script_calls(info: bytes) -> int:
    return sum(
        int(line.partition(b"calls=")[2].partition(b",")[0])
        for line in info.splitlines()
        if line.startswith((b"cmdstat_evalsha:", b"cmdstat_eval:"))
    )


async def test_a_check_in_a_batch_keeps_its_own_deadline(proxy: Proxy, proxied_url: str) -> None:
    async with RedisLink(proxied_url, timeout=2) as lossy:
        limiter = RateLimiter(lossy)
        await limiter.check((TEN, "a"))
        proxy.delay(0.4)

        async def hurried() -> None:
            with Deadline.after(0.05):
                await limiter.check((TEN, "a"))

        first, late, patient = await asyncio.gather(
            limiter.check((TEN, "a")), hurried(), limiter.check((TEN, "a")), return_exceptions=True
        )
        assert isinstance(late, DeadlineExceededError)
        assert not isinstance(first, BaseException)
        assert not isinstance(patient, BaseException)
        assert patient.remaining <= 7


async def test_refund_and_reset(link: RedisLink) -> None:
    limiter = RateLimiter(link)
    first = await limiter.check((THREE, "a"), (TEN, "a"))
    second = await limiter.check((THREE, "a"), (TEN, "a"), cost=2)
    await limiter.refund(second)
    await limiter.refund(second)
    state = await limiter.check((THREE, "a"), (TEN, "a"), cost=0)
    assert [each.remaining for each in state.states] == [2, 9]
    await limiter.refund(first)
    assert await link.run(lambda client: client.keys("*")) == [b"{rl}:mark"]
    await limiter.check((THREE, "a"))
    await limiter.reset(THREE, "a")
    assert (await limiter.check((THREE, "a"), cost=0)).remaining == 3


async def test_a_refund_in_slots(link: RedisLink) -> None:
    limiter, limit = RateLimiter(link), Limit("1000/min", name="many")
    first = await limiter.check((limit, "a"), cost=10)
    await limiter.check((limit, "a"), cost=5)
    await limiter.refund(first)
    assert (await limiter.check((limit, "a"), cost=0)).remaining == 995


async def test_no_wait_is_longer_than_the_window_of_a_large_limit(link: RedisLink) -> None:
    limiter, limit = RateLimiter(link, denial_cache=0), Limit("1000/s", name="large")
    for _ in range(3):
        assert (await limiter.check((limit, "a"), cost=999)).allowed
        refused = await limiter.check((limit, "a"), cost=2)
        assert not refused.allowed
        assert refused.retry_after <= 1
        await asyncio.sleep(refused.retry_after)


@pytest.mark.parametrize("rate", ["100/min", "1000/min"])
async def test_no_wait_is_longer_than_the_window_when_many_ask_at_once(link: RedisLink, rate: str) -> None:
    """The stamps of one script call are unique, so some lie ahead of its instant."""
    limiter, limit = RateLimiter(link, denial_cache=0), Limit(rate, name="crowd")
    await limiter.check((limit, "warm"))
    decisions = await asyncio.gather(
        *(limiter.check((limit, "a")) for _ in range(90)), limiter.check((limit, "a"), cost=limit.amount)
    )
    assert not decisions[-1].allowed
    for decision in decisions:
        (state,) = decision.states
        assert max(state.retry_after, state.more_after, state.reset_after) <= 60
        assert headers(decision)["RateLimit"].endswith(";t=60")


async def test_what_is_no_log_hurts_neither_its_caller_nor_the_others(link: RedisLink) -> None:
    """A list, or text of another length, under the name of a log: the callers of the same tick are counted once."""
    limiter = RateLimiter(link, denial_cache=0)
    await limiter.check((THREE, "x"))
    names = [limiter._sealer.name(THREE, key) for key in ("list", "text", "merged", "given back")]
    given = await limiter.check((THREE, "given back"))
    await link.execute("DEL", names[3])
    for name in (names[0], names[2], names[3]):
        await link.execute("RPUSH", name, "x")
    await link.execute("SET", names[1], "x")
    callers = ("a", "list", "b", "text", "c")
    for left in (2, 1):
        decisions = await asyncio.gather(*(limiter.check((THREE, key)) for key in callers))
        assert [each.remaining for each in decisions] == [left] * len(callers)
    await limiter.refund(given)
    await limiter.reset(THREE, "merged")
    assert (await limiter.check((THREE, "merged"))).remaining == 2
    assert (await limiter.check((THREE, "given back"))).remaining == 2


@pytest.mark.parametrize("junk", ["list", b"", b"\xff"])
async def test_what_is_no_mark_is_replaced_and_gives_no_new_quota(link: RedisLink, junk: bytes | str) -> None:
    limiter = RateLimiter(link)
    assert (await limiter.check((THREE, "a"), cost=2)).allowed
    names = [name async for page in link.scan("*") for name in page]
    for name in names:
        await link.execute("DEL", name)
        await link.execute(*(("LPUSH", name, "x") if junk == "list" else ("SET", name, junk)))
    assert (await limiter.check((THREE, "a"))).allowed
    refused = await limiter.check((THREE, "a"))
    assert (refused.allowed, refused.source) == (False, "redis")


async def test_a_refund_finds_its_entry_when_others_moved_it_on(link: RedisLink, redis_url: str) -> None:
    limit = Limit("1000/h", name="moved")  # slots of 14 s
    async with RedisLink(redis_url, timeout=2) as second:
        here, there = RateLimiter(link, denial_cache=0), RateLimiter(second, denial_cache=0)
        first = await here.check((limit, "a"), cost=100)
        await there.check((limit, "a"), cost=30)
        later = await here.check((limit, "a"), cost=7)
        await there.check((limit, "a"), cost=1)
        await here.refund(first)
        assert (await there.check((limit, "a"), cost=0)).remaining == 1000 - 38
        await here.refund(later)
        assert (await there.check((limit, "a"), cost=0)).remaining == 1000 - 31


async def test_large_limits_of_two_processes_survive_a_redis_that_is_empty(
    link: RedisLink, redis_url: str
) -> None:
    """Both have admitted in the same slot: what one brings back does not hide what the other brings back."""
    limit = Limit("1000/h", name="both")
    async with RedisLink(redis_url, timeout=2) as second:
        fleet = [RateLimiter(each, denial_cache=0) for each in (link, second)]
        for number in range(6):
            assert (await fleet[number % 2].check((limit, "a"), cost=100)).allowed
        await link.execute("FLUSHALL")
        for limiter in (*fleet, *fleet):
            await limiter.check((limit, "a"), cost=1)
        assert (await fleet[0].check((limit, "a"), cost=0)).remaining == 1000 - 604
        for (
            limiter
        ) in fleet:  # another connection to the same memory: they bring everything, and nothing counts twice
            assert limiter._merging is not None
            limiter._merging.guard(every=True)
            await limiter.check((limit, "a"), cost=0)
        assert (await fleet[0].check((limit, "a"), cost=0)).remaining == 1000 - 604


async def test_what_lies_in_redis(link: RedisLink) -> None:
    limiter = RateLimiter(link, secret="k" * 80)
    for _ in range(10):
        await limiter.check((TEN, "ana@example.com"))

    async def look_at(client: Any) -> Any:
        (name,) = await client.keys("*ten*")
        return name, await client.pttl(name), await client.memory_usage(name)

    name, ttl, size = await link.run(look_at)
    assert b"ana" not in name
    assert 59_000 < ttl <= 60_010
    assert size <= 200
    assert RateLimiter(link)._sealer.name(TEN, "a") != limiter._sealer.name(TEN, "a")


async def test_survives_a_script_flush(link: RedisLink) -> None:
    limiter = RateLimiter(link)
    await limiter.check((THREE, "a"))
    await link.run(lambda client: client.script_flush())
    assert (await limiter.check((THREE, "a"))).remaining == 1


async def test_an_outage_gives_no_new_quota(proxy: Proxy, proxied_url: str, redis_url: str) -> None:
    async with RedisLink(proxied_url) as link, RedisLink(redis_url) as witness:
        limiter = RateLimiter(link)
        allowed = 0
        for _ in range(3):
            for _ in range(3):
                allowed += (await limiter.check((TEN, "a"))).allowed
            proxy.refuse()
            for _ in range(3):
                decision = await limiter.check((TEN, "a"))
                assert decision.source == "local"
                allowed += decision.allowed
            proxy.heal()
            await until(lambda: link.up)
            state = await RateLimiter(witness).check((TEN, "a"), cost=0)
            assert state.remaining == 10 - allowed
        assert allowed == 10
        assert not (await limiter.check((TEN, "a"))).allowed


async def test_a_redis_that_comes_back_empty_gives_no_new_quota(
    proxy: Proxy, proxied_url: str, redis_url: str
) -> None:
    many = Limit("1000/min", name="many")
    async with RedisLink(proxied_url) as link, RedisLink(redis_url) as direct:
        limiter = RateLimiter(link)
        kept = await limiter.check((many, "refund"), cost=300)
        await limiter.check((many, "refund"), cost=400)
        allowed = 0
        for _ in range(3):
            for _ in range(4):
                allowed += (await limiter.check((TEN, "a"))).allowed
            proxy.refuse()
            assert (await limiter.check((TEN, "a"), cost=0)).source == "local"
            await direct.run(lambda client: client.flushall())
            proxy.heal()
            await until(lambda: link.up)
        assert allowed == 10
        decision = await limiter.check((TEN, "a"))
        assert (decision.allowed, decision.source) == (False, "redis")
        await limiter.refund(kept)
        assert (await limiter.check((many, "refund"), cost=0)).remaining == 600


async def test_refunds_and_resets_during_an_outage_are_sent_later(
    proxy: Proxy, proxied_url: str, redis_url: str
) -> None:
    async with RedisLink(proxied_url) as link, RedisLink(redis_url) as witness:
        limiter, there = RateLimiter(link), RateLimiter(witness)
        before = await limiter.check((TEN, "refund"), cost=4)
        await limiter.check((TEN, "reset"), cost=4)
        proxy.refuse()
        during = await limiter.check((TEN, "refund"), cost=3)
        assert during.source == "local"
        await limiter.refund(before)
        await limiter.reset(TEN, "reset")
        await limiter.check((TEN, "reset"))
        proxy.heal()
        await until(lambda: link.up)
        assert (await there.check((TEN, "refund"), cost=0)).remaining == 7
        assert (await there.check((TEN, "reset"), cost=0)).remaining == 9
        await limiter.refund(during)
        assert (await there.check((TEN, "refund"), cost=0)).remaining == 10


async def test_what_holds_while_redis_is_away(proxy: Proxy, proxied_url: str, runtime: Runtime) -> None:
    seen: list[Any] = []
    runtime.events.subscribe(seen.append, RateLimitUnchecked)
    proxy.refuse()
    deny, allow = (
        Limit("1/min", name="deny", on_outage="deny"),
        Limit("1/min", name="allow", on_outage="allow"),
    )
    async with RedisLink(proxied_url) as link:
        limiter = RateLimiter(link, runtime=runtime)
        for _ in range(3):
            assert (await limiter.check((allow, "a"))).allowed
        assert [event.limit for event in seen] == ["allow"] * 3
        refused = await limiter.check((deny, "a"), (allow, "a"))
        assert refused.unavailable
        assert status(refused) == 503
        assert headers(refused)["Retry-After"] == "1"
        mixed = [(await limiter.check((THREE, "a"), (allow, "a"))).allowed for _ in range(4)]
        assert mixed == [True, True, True, False]


async def test_a_full_pool_does_not_concern_the_limiter(redis_url: str) -> None:
    async with RedisLink(redis_url, max_connections=1, queue_timeout=0.02) as link:
        limiter = RateLimiter(link)
        blocker = asyncio.ensure_future(link.run(lambda client: client.blpop(["none"], timeout=1), timeout=5))
        await asyncio.sleep(0.02)
        decision = await limiter.check((TEN, "a"), cost=4)
        assert (decision.source, decision.remaining) == ("redis", 6)
        await blocker
