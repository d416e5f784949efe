"""The pool beside asyncpg's and psycopg's, on one embedded server: cost of a query, of a transaction, and of a burst.

Ratios are to asyncpg's own pool in the same run. psycopg is measured where ``psycopg[binary,pool]`` is installed
(``bench --peers``), with the ``check`` that it documents against dead connections, because our pool tests them too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from benchmarks.harness import Table, ratios, run
from prodkit import postgres
from prodkit.sessions import PostgresStore, Sessions
from prodkit.testing import Proxy
from prodkit.testing.servers import Postgres

QUERY = "select id, body from item where id = $1"
TASKS, BURST = 16, 200
Call = Callable[[], Awaitable[Any]]


def in_parallel(call: Call, each: int = 8) -> Call:
    async def one() -> None:
        for _ in range(each):
            await call()

    async def work() -> None:
        await asyncio.gather(*(one() for _ in range(TASKS)))

    return work


async def queries(table: Table, ours: postgres.Pool, theirs: Any, others: Any) -> None:
    def acquire(pool: Any) -> Call:
        async def call() -> None:
            async with pool.acquire() as connection:
                await connection.fetch(QUERY, 7)

        return call

    async def their_transaction() -> None:
        async with theirs.acquire() as connection, connection.transaction():
            await connection.fetch(QUERY, 7)

    async def our_transaction() -> None:
        async with ours.transaction() as tx:
            await tx.fetch(QUERY, 7)

    async def their_fetch() -> None:
        await theirs.fetch(QUERY, 7)

    async def our_fetch() -> None:
        await ours.fetch(QUERY, 7)

    async def psycopg_query() -> None:
        async with others.connection() as connection:
            await (await connection.execute(QUERY.replace("$1", "%s"), (7,))).fetchall()

    peer = {} if others is None else {"psycopg": psycopg_query}
    cases: list[tuple[str, Call, Call, dict[str, Call], float | None]] = [
        ("fetch", their_fetch, our_fetch, peer, 1.10),
        ("acquire and fetch", acquire(theirs), acquire(ours), peer, 1.10),
        ("transaction of one query", their_transaction, our_transaction, {}, None),
    ]
    for name, base, mine, more, ceiling in cases:
        found = await ratios(
            {"asyncpg": base, "ours": mine, **more}, calls=60, rounds=41, clock=time.perf_counter
        )
        figures = {each: found[each] for each in more}
        table.add(f"{name}, 1 task", found["ours"], ceiling=ceiling, peers=figures)
        works = {"asyncpg": in_parallel(base), "ours": in_parallel(mine)}
        works |= {each: in_parallel(call) for each, call in more.items()}
        found = await ratios(works, calls=1, rounds=41, clock=time.perf_counter)
        figures = {each: found[each] for each in more}
        limit = None if ceiling is None else 1.15
        table.add(f"{name}, {TASKS} tasks", found["ours"], ceiling=limit, peers=figures)


async def round_trips(table: Table, url: str) -> None:
    """Round trips that a caller of ``fetch`` waits for, seen through a proxy that delays each by 40 ms."""
    with Proxy(url) as proxy:
        async with postgres.Pool(proxy.url_for(url), min_size=2, max_size=2) as db:
            for _ in range(4):
                await asyncio.gather(db.fetchval("select 1"), db.fetchval("select 1"))
            while db.stats().idle < 2:
                await asyncio.sleep(0.005)
            proxy.delay(0.02)
            began = time.perf_counter()
            await db.fetchval("select 1")
            table.add(
                "round trips of fetch", round((time.perf_counter() - began) / 0.04, 1), ceiling=1.3, unit=""
            )


async def burst(table: Table, url: str, psycopg_pool: Any) -> None:
    async def ours() -> tuple[float, int]:
        async with postgres.Pool(url, min_size=2, max_size=50) as db:
            began = time.perf_counter()
            await asyncio.gather(*(db.fetchval("select 1") for _ in range(BURST)))
            return time.perf_counter() - began, db.stats().size

    async def asyncpgs() -> tuple[float, int]:
        async with asyncpg.create_pool(url, min_size=2, max_size=50) as pool:
            began = time.perf_counter()
            await asyncio.gather(*(pool.fetchval("select 1") for _ in range(BURST)))
            return time.perf_counter() - began, pool.get_size()

    async def psycopgs() -> tuple[float, int]:
        async with psycopg_pool.AsyncConnectionPool(url, min_size=2, max_size=50, open=False) as pool:
            await pool.wait()

            async def one() -> None:
                async with pool.connection() as connection:
                    await (await connection.execute("select 1")).fetchone()

            began = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(BURST)))
            return time.perf_counter() - began, pool.get_stats()["pool_size"]

    runs = {"ours": ours, "asyncpg": asyncpgs} | ({} if psycopg_pool is None else {"psycopg": psycopgs})
    taken: dict[str, list[tuple[float, int]]] = {name: [] for name in runs}
    for _ in range(5):
        for name, work in runs.items():
            taken[name].append(await work())
    middle = {name: sorted(values)[len(values) // 2] for name, values in taken.items()}
    sizes = {name: float(size) for name, (_, size) in middle.items() if name != "ours"}
    table.add(f"backends after {BURST} `select 1`", middle["ours"][1], ceiling=12, peers=sizes, unit="")
    base = "psycopg" if "psycopg" in middle else "asyncpg"
    table.add(f"time of that burst over {base}'s", middle["ours"][0] / middle[base][0], ceiling=1.2)


async def sessions(table: Table, theirs: Any) -> None:
    """A web session's cost over ``SELECT 1`` on the same pool."""
    store = PostgresStore(theirs)
    await store.create_table()
    accounts = Sessions(store, secret="only-a-benchmark-0123456789-abcdefgh")
    session = await accounts.open([])
    session.login("7")
    session.update({"basket": list(range(20)), "locale": "pt-BR"})
    cookie = str(await accounts.save(session)).split(";")[0].encode()
    count = 0

    async def floor() -> None:
        await theirs.fetchval("SELECT 1")

    async def anonymous() -> None:
        found = await accounts.open([b"__Host-session=made-up; theme=dark"])
        await accounts.save(found)

    async def read() -> None:
        await accounts.save(await accounts.open([cookie]))

    async def written() -> None:
        nonlocal count
        count += 1
        found = await accounts.open([cookie])
        found["n"] = count
        await accounts.save(found)

    works = {"SELECT 1": floor, "anonymous": anonymous, "read": read, "written": written}
    found = await ratios(works, calls=100, rounds=9, clock=time.perf_counter)
    for name in ("anonymous", "read", "written"):
        table.add(f"session, {name}, over SELECT 1", found[name])


async def main() -> Table:
    table = Table(
        "postgres",
        "the pool beside asyncpg's and psycopg's",
        packages=("asyncpg", "psycopg", "psycopg-pool"),
    )
    try:
        import psycopg_pool
    except ImportError:
        psycopg_pool = None
        table.note("psycopg is not installed here: `bench --peers postgres` measures it too.")
    with Postgres() as server:
        url = server.url
        async with (
            asyncpg.create_pool(url, min_size=5, max_size=10) as theirs,
            postgres.Pool(url, min_size=5, max_size=10) as ours,
        ):
            await ours.execute("create table item (id int primary key, body text)")
            await ours.execute("insert into item select n, 'item ' || n from generate_series(1, 1000) n")
            if psycopg_pool is None:
                await queries(table, ours, theirs, None)
            else:
                check = psycopg_pool.AsyncConnectionPool.check_connection
                async with psycopg_pool.AsyncConnectionPool(
                    url, min_size=5, max_size=10, check=check, open=False
                ) as others:
                    await queries(table, ours, theirs, others)
            await sessions(table, theirs)
        await round_trips(table, url)
        await burst(table, url, psycopg_pool)
    return table


if __name__ == "__main__":
    run(main)
