"""A pool with limits, transactions in two forms, a lock, and a health check; on a real server of its own.

python examples/03_postgres.py
"""

import asyncio

import prodkit as pk
from prodkit import postgres
from prodkit.testing.servers import Postgres


async def main(url: str) -> None:
    db = postgres.Pool(url, min_size=1, max_size=5)
    async with pk.running(db):
        experts = postgres.SoftDelete("expert")
        async with db.acquire() as connection, postgres.advisory_lock(connection, "migrations", timeout=5):
            await connection.execute("create table expert (id int primary key, name text, facts jsonb)")
            await connection.execute(experts.migration(unique=["name"]))

        with pk.Deadline.after(2):  # everything below fits in two seconds
            async with db.transaction() as tx:
                await tx.executemany(
                    "insert into expert values ($1, $2, $3)",
                    [(1, "Ana", {"city": "Recife"}), (2, "João", {})],
                )

            async def rename(tx):
                return await tx.fetchval("update expert set name = upper(name) where id = 1 returning name")

            # Run again by itself when another transaction got in the way; nothing is committed twice.
            print(await db.transaction(rename, isolation="serializable"))

            async with db.transaction() as tx:
                deletion = await experts.remove(tx, 2, reason="asked by the user")
            print(await db.fetch(f"select name, facts from {experts.view}"))
            async with db.transaction() as tx:
                await experts.bring_back(tx, deletion.id)
        print(await postgres.Purge(experts, days=90).run(db))

        try:
            with pk.Deadline.after(0.2):
                await db.execute("select pg_sleep(10)")
        except pk.DeadlineExceededError as error:
            print("too slow:", error)

        print((await db.check()).details["verdict"], db.stats())


if __name__ == "__main__":
    with Postgres() as server:
        asyncio.run(main(server.url))
