import asyncpg
import pytest
import redis.asyncio

pytestmark = pytest.mark.integration


async def test_postgres_url_is_an_empty_database_of_the_test(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        assert await connection.fetchval("select count(*) from pg_tables where schemaname = 'public'") == 0
        await connection.execute("create table left_behind (id int)")
    finally:
        await connection.close()


async def test_postgres_url_is_another_one_in_the_next_test(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        assert await connection.fetchval("select to_regclass('left_behind')") is None
    finally:
        await connection.close()


@pytest.mark.parametrize("time", ["first", "second"])
async def test_redis_url_has_no_keys(redis_url: str, time: str) -> None:
    async with redis.asyncio.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        await client.set("key", time)


async def test_the_runtime_and_its_log(runtime, event_log) -> None:
    assert event_log.names == []
    assert 0 <= runtime.rng.random() < 1
