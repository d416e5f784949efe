"""The network between the pool and the server misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from prodkit import Deadline, postgres
from prodkit.errors import CallTimeoutError, DatabaseError, DeadlineExceededError
from prodkit.testing import Proxy
from prodkit.testing.proxy import Cut

pytestmark = pytest.mark.integration
REASONS: tuple[Cut, ...] = ("rst", "fin")


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    with Proxy(postgres_url) as proxy:
        yield proxy


async def test_a_silent_network_holds_no_caller_beyond_the_limits(
    proxy: Proxy, postgres_url: str, running_time: Callable[[], float]
) -> None:
    url = proxy.url_for(postgres_url)
    async with postgres.Pool(url, min_size=1, max_size=2, command_timeout=0.3, connect_timeout=0.5) as db:
        assert await db.fetchval("select 1") == 1
        while not db.stats().idle:
            await asyncio.sleep(0.005)
        proxy.stall()
        started = running_time()
        with pytest.raises(CallTimeoutError):
            async with db.acquire() as connection:
                await connection.fetchval("select 1")
        assert running_time() - started < 0.3 + 0.6
        started = running_time()
        assert (await db.check()).details["verdict"] == "down"
        assert running_time() - started < 1.5
        started = running_time()
        with Deadline.after(0.4), pytest.raises((DeadlineExceededError, DatabaseError)):
            await db.fetchval("select 1")
        assert running_time() - started < 0.4 + 0.5
        proxy.heal()
        assert await db.fetchval("select 1") == 1
        assert (await db.check()).status == "up"
        assert db.stats().used == 0


async def test_a_cancelled_borrower_leaves_a_silent_network_at_once(
    proxy: Proxy, postgres_url: str, running_time: Callable[[], float]
) -> None:
    async with postgres.Pool(proxy.url_for(postgres_url), min_size=1, max_size=1) as db:
        await db.fetchval("select 1")
        proxy.stall()
        task = asyncio.create_task(db.fetchval("select pg_sleep(1)"))
        await asyncio.sleep(0.1)
        started = running_time()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert running_time() - started < 1.0
        proxy.heal()
        assert await db.fetchval("select 1") == 1


async def test_cut_connections_are_replaced(proxy: Proxy, postgres_url: str) -> None:
    async with postgres.Pool(proxy.url_for(postgres_url), min_size=2, max_size=2) as db:
        for how in REASONS:
            proxy.drop(how)
            await asyncio.sleep(
                0.3
            )  # until the client has seen it: a statement sent before that is lost, rightly
            assert await asyncio.gather(*(db.fetchval("select 1") for _ in range(6))) == [1] * 6


async def test_a_connection_that_lay_idle_is_asked_before_it_is_lent(proxy: Proxy, postgres_url: str) -> None:
    url = proxy.url_for(postgres_url)
    async with postgres.Pool(url, min_size=1, max_size=1, command_timeout=0.3) as db:
        await db.fetchval("select 1")
        await asyncio.sleep(1.05)
        proxy.stall()
        asyncio.get_running_loop().call_later(0.6, proxy.heal)
        # The statement itself may take 0.3 s; the silence is spent on the pool's question, not on the caller's.
        assert await db.fetchval("select 1") == 1
