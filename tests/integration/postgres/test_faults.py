"""The connection dies at awkward moments."""

from __future__ import annotations

import asyncpg
import pytest

from prodkit import postgres
from prodkit.errors import DatabaseError

pytestmark = pytest.mark.integration


async def test_a_connection_that_dies_in_use_is_a_database_error(postgres_url: str) -> None:
    killer = await asyncpg.connect(postgres_url)
    async with postgres.Pool(postgres_url, min_size=1, max_size=1) as db:
        await db.execute("create table t (a int)")
        with pytest.raises(DatabaseError):
            async with db.acquire() as connection:
                await killer.fetchval("select pg_terminate_backend($1)", connection.get_server_pid())
                await connection.fetchval("select 1")
        with pytest.raises(DatabaseError) as caught:
            async with db.transaction() as tx:
                await tx.execute("insert into t values (1)")
                await killer.fetchval("select pg_terminate_backend($1)", tx.get_server_pid())
        assert "COMMIT" in str(caught.value)
        assert await db.fetchval("select count(*) from t") == 0
        assert db.stats().used == 0
    await killer.close()
