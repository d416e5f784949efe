from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prodkit.redis.shared_connection import LimitReached, SharedConnection
from prodkit.testing.servers import Redis


@pytest.fixture
def made(redis_url: str) -> Any:
    from prodkit.redis.address import Address
    from prodkit.redis.pool import open_client

    return open_client(Address.parse(redis_url), 1).connection_pool.make_connection


@pytest.mark.skipif(not Redis.available(), reason="no Redis is installed")
class TestSharedConnection:
    async def test_replies_belong_to_their_callers(self, made: Any) -> None:
        shared = SharedConnection(made)
        try:
            await shared.execute([("SET", f"k{number}", number) for number in range(100)], 2)
            found = await asyncio.gather(
                *(shared.execute([("GET", f"k{number}")], 2) for number in range(100))
            )
            assert found == [[str(number).encode()] for number in range(100)]
            assert shared.opened == 1
        finally:
            await shared.aclose()

    async def test_cancelled_and_late_callers_leave_it_in_order(self, made: Any) -> None:
        shared = SharedConnection(made)
        try:
            await shared.execute([("SET", "a", "1"), ("SET", "b", "2")], 2)
            for _ in range(50):
                tasks = [asyncio.ensure_future(shared.execute([("GET", name)], 2)) for name in "abab"]
                await asyncio.sleep(0)
                tasks[0].cancel()
                tasks[2].cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert [results[1], results[3]] == [[b"2"], [b"2"]]
            with pytest.raises(LimitReached):
                await shared.execute(
                    [("EVAL", "local n = 0 for i = 1, 3e7 do n = n + 1 end return n", 0)], 0.01
                )
            assert await shared.execute([("GET", "a")], 5) == [[b"1"]][0]
        finally:
            await shared.aclose()

    async def test_errors_are_returned_at_the_index_of_their_reply(self, made: Any) -> None:
        from redis.exceptions import DataError, ResponseError

        shared = SharedConnection(made)
        try:
            replies = await shared.execute([("SET", "a", "1"), ("LPUSH", "a", "x"), ("GET", "a")], 2)
            assert isinstance(replies[1], ResponseError)
            assert replies[2] == b"1"
            with pytest.raises(DataError):
                await shared.execute([("SET", "a", object())], 2)
            assert await shared.execute([("GET", "a")], 2) == [b"1"]
        finally:
            await shared.aclose()

    async def test_what_is_in_flight_fails_with_the_connection(self, made: Any) -> None:
        shared = SharedConnection(made)
        try:
            await shared.execute([("PING",)], 2)
            waiting = asyncio.ensure_future(shared.execute([("PING",)], 2))
            await asyncio.sleep(0)
            shared.drop("gone")
            with pytest.raises(ConnectionError, match="gone"):
                await waiting
            assert await shared.execute([("PING",)], 2) == [b"PONG"]
            assert shared.opened == 2
        finally:
            await shared.aclose()


async def test_a_connection_that_cannot_be_made_fails_its_commands_at_once() -> None:
    def broken() -> Any:
        raise TypeError("an option that this redis-py does not know")

    shared = SharedConnection(broken)
    with pytest.raises(TypeError, match="does not know"):
        await asyncio.wait_for(shared.execute([("PING",)], None), 5)
    await shared.aclose()
