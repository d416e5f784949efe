"""The synchronous faces on real servers."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from prodkit import cache, llm, postgres, ratelimit, sync
from prodkit.redis import RedisLink
from prodkit.testing.anthropic import Simulator

pytestmark = pytest.mark.integration


def test_a_limiter_under_eight_threads_is_exact(redis_url: str) -> None:
    # A check whose answer comes too late counts twice, the strict side: on a busy machine 0.25 s may be too short.
    redis = RedisLink(redis_url, timeout=10)
    limiter = sync.RateLimiter(ratelimit.RateLimiter(redis))
    limit = ratelimit.Limit("500/hour", name="exact")

    def ask(_: int) -> bool:
        return limiter.check((limit, "everyone")).allowed

    with sync.running(redis, limiter), ThreadPoolExecutor(8) as threads:
        verdicts = Counter(threads.map(ask, range(2000)))
    assert verdicts == {True: 500, False: 1500}


def test_a_cache_is_shared_through_redis(redis_url: str) -> None:
    redis = RedisLink(redis_url)
    first = sync.Cache(cache.Cache(redis, namespace="shared"))
    second = sync.Cache(cache.Cache(redis, namespace="shared"))
    with sync.running(redis, first, second):
        first.set("k", [1, 2], ttl=60)
        assert second.get("k") == [1, 2]


def test_transactions_commit_and_roll_back(postgres_url: str) -> None:
    db = sync.Pool(postgres.Pool(postgres_url, min_size=1, max_size=3))
    with sync.running(db):
        db.execute("create table item (n int)")
        with db.transaction() as tx:
            tx.execute("insert into item values ($1)", 1)
            assert tx.fetchval("select count(*) from item") == 1
        with pytest.raises(LookupError), db.transaction() as tx:
            tx.execute("insert into item values (2)")
            raise LookupError
        db.executemany("insert into item values ($1)", [(3,), (4,)])
        assert [row["n"] for row in db.fetch("select n from item order by n")] == [1, 3, 4]
        assert db.fetchrow("select n from item where n = 99") is None

        def count(_: int) -> int:
            return int(db.fetchval("select count(*) from item"))

        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(count, range(100))) == {3}


def double(number: int) -> int:
    """Double a number."""
    return 2 * number


def test_an_answer_and_a_stream() -> None:
    with Simulator() as simulator:
        claude = sync.Client(
            llm.Client("sk-not-a-key", base_url=simulator.url, models=("claude-sonnet-5-5",))
        )
        messages = [{"role": "user", "content": "One sentence on bread."}]
        with sync.running(claude):
            assert claude.create(max_tokens=100, messages=messages).text
            with claude.stream(max_tokens=100, messages=messages) as stream:
                text = "".join(stream.text)
            assert text == stream.answer.text
            with claude.stream(max_tokens=100, messages=messages) as stream:
                types = [event.type for event in stream.events]
            assert {"text", "usage", "block", "attempt"} <= set(types)
            assert stream.partial is not None
            assert claude.count_tokens(messages=messages) > 0
            simulator.script({"text": "[1, 2]"})
            assert claude.parse(model=list[int], max_tokens=100, messages=messages).parsed == [1, 2]
            call = {"type": "tool_use", "id": "toolu_1", "name": "double", "input": {"number": 2}}
            simulator.script({"content": [call]}, {"text": "Four."})
            run = claude.run_tools(tools=[double], max_tokens=100, messages=messages)
            assert run.results["toolu_1"]["content"] == "4"
