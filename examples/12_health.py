"""One health report over all parts: a thousand requests run each check once, and a hung part delays no report."""

import asyncio
import time

import prodkit as pk
from prodkit.health import Processes, RedisReports
from prodkit.redis import RedisLink


class Dependency:
    def __init__(self, name: str) -> None:
        self.name = name
        self.hangs = False
        self.looks = 0

    async def check(self) -> pk.CheckResult:
        self.looks += 1
        await asyncio.sleep(30 if self.hangs else 0.005)
        return pk.CheckResult("up", details={"connections": 5})


async def main() -> None:
    db, search = Dependency("postgres"), Dependency("search")
    health = pk.Health(db, optional=(search,), timeout=0.5, ttl=0.5)

    reports = await asyncio.gather(*(health.report() for _ in range(1000)))
    print(f"1000 reports: {reports[0].status}, {db.looks} look at the database")
    assert db.looks == 1

    search.hangs = True
    await asyncio.sleep(0.6)
    began = time.perf_counter()
    report = await health.report()
    print(f"search hangs: {report.status} after {time.perf_counter() - began:.3f} s (the last verdict)")
    await asyncio.sleep(0.6)
    report = await health.report()
    print(f"a little later: {report.public()}")
    assert report.status == "degraded"  # search is optional; without the database it would be down
    print("for operators:", report.private()["checks"]["search"]["reason"])

    # Every process of the service leaves its report in Redis; without one it sees itself alone.
    processes = Processes(health, RedisReports(RedisLink(None)), service="shop")
    print("all processes:", (await processes.report()).public())


asyncio.run(main())
