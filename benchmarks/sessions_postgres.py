"""What a session costs in PostgreSQL: ratios to `SELECT 1` on the same pool, in one run.

    python benchmarks/sessions_postgres.py

The server is the embedded one. A request is open + save as the middleware does them; "touch 1 in 60" is a browser
that asks once a second.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import asyncpg

from prodkit.sessions import PostgresStore, Sessions
from prodkit.sessions.session import digest
from prodkit.testing.servers import Postgres

ROUNDS, CALLS = 15, 120


async def measure(work: Callable[[int], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    for number in range(CALLS):
        await work(number)
    return (time.perf_counter() - began) / CALLS


async def main(url: str) -> None:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
        store = PostgresStore(pool)
        await store.create_table()
        accounts = Sessions(store, secret="only-a-benchmark-0123456789-abcdefgh")
        session = await accounts.open([])
        session.login("7")
        session.update({"basket": list(range(20)), "locale": "pt-BR"})
        cookie = str(await accounts.save(session)).split(";")[0].encode()
        key = digest(str(session.id))

        async def request(number: int) -> None:
            found = await accounts.open([cookie])
            assert found.user_id == "7"
            await accounts.save(found)

        async def touched(number: int) -> None:
            await request(number)
            if number % 60 == 0:
                await store.touch(key, idle=3600, every=0)

        async def written(number: int) -> None:
            found = await accounts.open([cookie])
            found["n"] = number
            await accounts.save(found)

        async def nobody(number: int) -> None:
            found = await accounts.open([b"__Host-session=made-up; theme=dark"])
            await accounts.save(found)

        cases = {
            "anonymous": nobody,
            "read": request,
            "read, touch 1 in 60": touched,
            "write every request": written,
        }
        ratios: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(ROUNDS):
            for name, case in cases.items():
                floor = await measure(lambda _: pool.fetchval("SELECT 1"))
                ratios[name].append(await measure(case) / floor)
        for name, found in ratios.items():
            print(f"{name:<22}{statistics.median(found):>8.2f} x SELECT 1")


if __name__ == "__main__":
    with Postgres() as server:
        asyncio.run(main(server.url))
