from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import prodkit as pk
from prodkit import Health, web
from prodkit.errors import RedisError
from prodkit.health import Processes, RedisReports
from prodkit.health.process_stores import StoredReport
from prodkit.redis import RedisLink
from prodkit.testing import virtual_time


class Reports:
    """A store in memory whose clock is the loop's."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], tuple[str, float]] = {}
        self.away = False

    def _try(self) -> float:
        if self.away:
            raise RedisError("away")
        return asyncio.get_running_loop().time()

    async def put(self, service: str, process: str, report: str, *, keep: float) -> None:
        now = self._try()
        self.kept = {key: value for key, value in self.kept.items() if now - value[1] <= keep}
        self.kept[service, process] = report, now

    async def list(self, service: str) -> list[StoredReport]:
        now = self._try()
        return [
            StoredReport(process, report, now - at)
            for (name, process), (report, at) in self.kept.items()
            if name == service
        ]

    async def remove(self, service: str, process: str) -> None:
        self._try()
        self.kept.pop((service, process), None)


class Part:
    name = "db"

    def __init__(self, status: Any = "up", **details: Any) -> None:
        self.status, self.details = status, details

    async def check(self) -> pk.CheckResult:
        return pk.CheckResult(self.status, "host 10.0.0.7", self.details)


def process(store: Reports, part: Part, service: str = "council") -> Processes:
    return Processes(Health(part), store, service=service)


@virtual_time
async def test_checks_and_numbers_are_summed_over_the_processes_of_one_service() -> None:
    store = Reports()
    one, two = process(store, Part(size=5, tls=True)), process(store, Part("degraded", size=7, mode="x"))
    async with pk.running(one, two, process(store, Part("down"), "another")):
        report = await one.report()
        assert (report.status, report.complete, len(report.processes)) == ("degraded", True, 2)
        assert report.checks() == {
            "db": {"status": "degraded", "up": 1, "degraded": 1, "down": 0, "details": {"size": 12}}
        }
        assert report.public() == {"status": "degraded", "checks": {"db": {"status": "degraded"}}}
        assert set(report.private()["processes"]) == {one.process, two.process}
    assert store.kept == {}


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (("up", "up"), "up"),
        (("up", "down"), "degraded"),
        (("down", "down"), "down"),
        (("down", "degraded"), "degraded"),
    ],
)
@virtual_time
async def test_the_service_is_down_when_no_process_serves(statuses: tuple[str, ...], status: str) -> None:
    store = Reports()
    parts = [process(store, Part(each)) for each in statuses]
    async with pk.running(*parts):
        assert (await parts[0].report()).status == status


@virtual_time
async def test_a_killed_process_is_silent_then_forgotten_and_does_not_count() -> None:
    store = Reports()
    one, killed = process(store, Part()), process(store, Part("degraded"))
    await killed.start()
    assert killed._task is not None
    killed._task.cancel()  # as kill -9 leaves it: nothing is taken away
    async with pk.running(one):
        assert (await one.report()).status == "degraded"
        await asyncio.sleep(16)
        report = await one.report()
        (silent,) = [each for each in report.processes if each.silent]
        assert (report.status, silent.process, silent.status) == ("up", killed.process, "down")
        assert report.checks()["db"]["degraded"] == 0
        await asyncio.sleep(290)
        assert len((await one.report()).processes) == 1
    assert store.kept == {}


@virtual_time
async def test_without_its_store_a_process_shows_itself_and_says_so() -> None:
    store = Reports()
    one, two = process(store, Part()), process(store, Part())
    store.away = True
    async with pk.running(one, two):
        report = await one.report()
        assert (report.complete, [each.process for each in report.processes]) == (False, [one.process])
        assert (await one.check()).status == "degraded"
        store.away = False
        await asyncio.sleep(6)
        assert len((await one.report()).processes) == 2
        assert (await one.check()).status == "up"
        store.away = True  # leaving does not fail either
    report = await process_of_memory().report()
    assert (report.status, report.complete) == ("up", False)


def process_of_memory() -> Processes:
    return Processes(Health(Part()), RedisReports(RedisLink(None)), service="council")


@pytest.mark.parametrize(
    "text",
    [
        '{"status": "up", "checks": {"db": {"status": "up", "details": 5}}}',
        '{"status": "up", "checks": {"db": {"status": "up", "details": {"n": NaN}}}}',
        '{"status": "up", "checks": {"db": {"status": "up", "details": {"n": ' + "9" * 400 + "}}}}",
        "[" * 100_000,
        "",
        "[]",
        "{}",
        '{"status": "fine", "checks": {}}',
        '{"status": "up", "checks": {"a": {"status": 3}}}',
    ],
)
@virtual_time
async def test_a_report_of_another_version_is_a_degraded_process(text: str) -> None:
    store = Reports()
    await store.put("council", "old:1", text, keep=60)
    report = await process(store, Part()).report()
    assert report.status == "degraded"
    assert json.dumps(report.private())


def test_the_route_shows_numbers_only_in_the_private_view() -> None:
    part = Part(size=5)
    processes = process(Reports(), part)
    token = "only-a-test-token-0123"
    app = Starlette(routes=web.health_routes(Health(part), processes=processes, token=token))
    with TestClient(app) as client:
        answer = client.get("/api/health/processes")
        assert answer.json() == {"status": "up", "checks": {"db": {"status": "up"}}}
        private = client.get("/api/health/processes", headers={"authorization": f"Bearer {token}"}).json()
        assert private["checks"]["db"]["details"] == {"size": 5}
        assert list(private["processes"]) == [processes.process]
    bare = Starlette(routes=web.health_routes(Health(part)))
    assert TestClient(bare).get("/api/health/processes").status_code == 404
    with pytest.raises(ValueError, match=r"every.*\n.*forget|service"):
        Processes(Health(), Reports(), service="", every=0, forget=1)
