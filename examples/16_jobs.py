"""A worker that is killed in the middle of a job, and another one that goes on with what is missing."""

import asyncio
import sys

from prodkit import jobs, postgres
from prodkit.testing.servers import Postgres

calls: list[str] = []


async def ask(expert: str) -> str:
    calls.append(expert)
    await asyncio.sleep(0.2 if expert == "Ana" else 0.6)
    return f"{expert}: it depends"


@jobs.job
async def council(experts: list[str]) -> list[str]:
    return await jobs.gather(*(jobs.step(f"opinion:{expert}", ask, expert) for expert in experts))


async def main() -> None:
    with Postgres() as server:
        async with postgres.Pool(server.url) as db:
            await jobs.install(db)
            run = await council.using(key="question:7").enqueue(db, ["Ana", "Bia"])
            first = jobs.Worker(db, [council], grace=0)
            await first.start()
            await asyncio.sleep(0.4)
            await first.aclose()  # Ana's answer is a row, Bia's call is cut off
            async with jobs.Worker(db, [council]):
                print(await jobs.Runs(db).result(run.id, job=council, timeout=20))
    print("calls:", calls)
    assert calls.count("Ana") == 1


if not Postgres.available():
    sys.exit("this example starts PostgreSQL: pip install 'prodkit-resilience[testing]'")
asyncio.run(main())
