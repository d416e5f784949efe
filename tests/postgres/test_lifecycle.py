"""The start and the end of a pool, without a server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import asyncpg
import pytest

from prodkit import postgres
from prodkit.errors import DatabaseError, DrainingError


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgresql://user:password@127.0.0.1:{server.getsockname()[1]}/database"


async def test_use_in_the_wrong_state_is_told(silent: str) -> None:
    db = postgres.Pool(silent, acquire_timeout=60.0, connect_timeout=60.0)
    with pytest.raises(RuntimeError, match="is not started") as caught:
        await db.fetchval("select 1")
    assert isinstance(caught.value, asyncpg.InterfaceError), "as code written for asyncpg's pool expects"
    assert not isinstance(caught.value, DatabaseError)
    await db.aclose()
    starting = asyncio.create_task(db.start())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="in another task"):
        await db.start()
    with pytest.raises(RuntimeError, match="not yet ready"):
        await db.fetchval("select 1")
    await db.aclose()
    with pytest.raises(DrainingError):
        await starting


async def test_aclose_ends_a_start_that_still_waits(silent: str) -> None:
    db = postgres.Pool(silent, acquire_timeout=60.0, connect_timeout=60.0)
    for _ in range(2):
        starting = asyncio.create_task(db.start())
        await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            await asyncio.gather(db.aclose(), db.aclose())
            with pytest.raises(DrainingError, match="is closing"):
                await starting
        assert not db.running
        assert db.stats().size == db.stats().connecting == 0


async def test_a_start_that_is_cancelled_can_be_made_again(silent: str) -> None:
    db = postgres.Pool(silent, acquire_timeout=0.05, connect_timeout=60.0)
    starting = asyncio.create_task(db.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    with pytest.raises(DatabaseError, match="could not be reached"):
        await db.start()
    assert not db.running
