"""The reports of real processes in a real Redis and PostgreSQL, one of them killed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

import prodkit as pk
from prodkit import postgres
from prodkit.health import PostgresReports, Processes, RedisReports
from prodkit.health.process_stores import Reports
from prodkit.redis import RedisLink

pytestmark = pytest.mark.integration

CHILD = """
import asyncio, sys
import prodkit as pk
from prodkit import postgres
from prodkit.health import PostgresReports, Processes, RedisReports
from prodkit.redis import RedisLink

class Part:
    name = "part"
    async def check(self):
        return pk.CheckResult("degraded", "", {"size": 3})

async def main(kind, url):
    patient = {"timeout": 10, "connect_timeout": 10}
    source = RedisLink(url, **patient) if kind == "redis" else postgres.Pool(url, min_size=1, max_size=2)
    store = RedisReports(source) if kind == "redis" else PostgresReports(source)
    async with pk.running(source, Processes(pk.Health(Part()), store, service="kit", every=0.1)):
        print("up", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main(*sys.argv[1:]))
"""


class Part:
    name = "part"

    async def check(self) -> pk.CheckResult:
        return pk.CheckResult("up", "", {"size": 4})


@pytest.fixture(params=["redis", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, str, Reports]]:
    url: str = request.getfixturevalue(f"{request.param}_url")
    if request.param == "redis":
        async with RedisLink(url, timeout=10, connect_timeout=10) as link:
            yield "redis", url, RedisReports(link)
        return
    async with postgres.Pool(url, min_size=1, max_size=2) as pool:
        made = PostgresReports(pool)
        await made.create_table()
        await made.create_table()
        yield "postgres", url, made


async def test_processes_see_each_other_leave_and_die(store: tuple[str, str, Reports]) -> None:
    kind, url, reports = store
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            CHILD,
            kind,
            url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]
    processes = Processes(pk.Health(Part()), reports, service="kit", every=0.1, forget=60)
    try:
        for child in children:
            assert child.stdout is not None
            assert await asyncio.wait_for(child.stdout.readline(), 60) == b"up\n"
        async with processes:
            report = await processes.report()
            assert report.status == "degraded"
            assert report.checks()["part"] == {
                "status": "degraded", "up": 1, "degraded": 2, "down": 0, "details": {"size": 10},
            }  # fmt: skip
            leaving, killed = children
            assert leaving.stdin is not None
            leaving.stdin.close()
            assert await asyncio.wait_for(leaving.wait(), 60) == 0
            killed.kill()
            await killed.wait()
            async with asyncio.timeout(60):
                while not any(each.silent for each in (await processes.report()).processes):
                    await asyncio.sleep(0.05)
            report = await processes.report()
            assert (report.status, len(report.processes)) == ("up", 2)
        assert [each.process for each in await reports.list("kit")] != [processes.process]
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
            await child.wait()


async def test_old_reports_are_removed_by_the_next_one(store: tuple[str, str, Reports]) -> None:
    _, _, reports = store
    await reports.put("old", "a:1", "{}", keep=60)
    await asyncio.sleep(0.05)
    await reports.put("old", "b:2", "{}", keep=0.02)
    assert [each.process for each in await reports.list("old")] == ["b:2"]
    await reports.remove("old", "b:2")
    assert await reports.list("old") == []


async def test_a_value_that_is_not_ours_stops_no_report(redis_url: str) -> None:
    async with RedisLink(redis_url, timeout=10, connect_timeout=10) as link:
        reports = RedisReports(link)
        for value in ("", "text", "-1 {}", b"\xff\xfe"):
            await link.execute("HSET", "health:{kit}", "foreign", value, key="health:{kit}")
            assert await reports.list("kit") == []
            await reports.put("kit", "one", "{}", keep=60)
            assert [each.process for each in await reports.list("kit")] == ["one"]
            assert not await link.execute("HEXISTS", "health:{kit}", "foreign", key="health:{kit}")
            await reports.remove("kit", "one")
