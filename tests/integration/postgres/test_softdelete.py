from __future__ import annotations

import asyncio
import uuid

import pytest

from prodkit import postgres

pytestmark = pytest.mark.integration


async def test_delete_restore_purge(postgres_url: str) -> None:
    soft = postgres.SoftDelete("expert")
    one, two = uuid.uuid4(), uuid.uuid4()
    async with postgres.Pool(postgres_url, min_size=1, max_size=3) as db:
        await db.execute("create table expert (id int primary key, name text)")
        await db.execute(f"alter table expert {soft.columns}")
        await db.executemany("insert into expert values ($1, $2)", [(n, str(n)) for n in range(6)])
        assert await db.execute(soft.delete, 1, one) == "UPDATE 1"
        assert await db.execute(soft.delete, 1, two) == "UPDATE 0"
        for number in (2, 3):
            await db.execute(soft.delete, number, two)
        assert await db.execute(soft.restore, two) == "UPDATE 2"
        assert await db.fetchval("select array_agg(id) from expert where deleted_at is not null") == [1]
        assert await db.execute(soft.purge, 90, 100) == "DELETE 0"
        await db.execute("update expert set deleted_at = now() - interval '91 days' where id in (1, 4, 5)")
        assert await db.execute(soft.purge, 90, 2) == "DELETE 2"
        assert await db.execute(soft.purge, 90, 2) == "DELETE 1"


async def test_a_row_restored_during_the_purge_stays(postgres_url: str) -> None:
    soft = postgres.SoftDelete("expert")
    async with postgres.Pool(postgres_url, min_size=2, max_size=3) as db:
        await db.execute(f"create table expert (id int primary key); alter table expert {soft.columns}")
        await db.execute(
            "insert into expert select n, now() - interval '1 year' from generate_series(1, 2) n"
        )
        async with db.transaction() as tx:
            await tx.execute("update expert set deleted_at = null where id = 1")
            async with asyncio.timeout(2):
                assert await db.execute(soft.purge, 90, 10) == "DELETE 1"
        assert await db.fetchval("select array_agg(id) from expert") == [1]


def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match="plain lower-case SQL name"):
        postgres.SoftDelete("expert; drop table x")
