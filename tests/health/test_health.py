from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prodkit import CheckResult, Deadline, Health, Runtime
from prodkit.health import CheckChanged, HealthReport
from prodkit.testing import virtual_time


class Part:
    def __init__(
        self, name: str, status: str = "up", *, takes: float = 0.0, error: Exception | None = None
    ) -> None:
        self.name = name
        self.status = status
        self.takes = takes
        self.error = error
        self.looks = 0

    async def check(self) -> CheckResult:
        self.looks += 1
        if self.takes:
            await asyncio.sleep(self.takes)
        if self.error is not None:
            raise self.error
        return CheckResult(self.status, f"{self.name} says {self.status}", {"host": "db.internal"})  # type: ignore[arg-type]


@virtual_time
async def test_the_service_is_as_well_as_its_worst_part() -> None:
    assert (await Health().report()).status == "up"
    assert (await Health(Part("a"), Part("b")).report()).status == "up"
    assert (await Health(Part("a"), Part("b", "degraded")).report()).status == "degraded"
    report = await Health(Part("a", "degraded"), Part("b", "down")).report()
    assert report.status == "down"
    assert not report.ok


@virtual_time
async def test_an_optional_part_that_is_down_degrades() -> None:
    spare = Part("youtube", "down")
    for health in (Health(Part("db"), optional=(spare,)), Health(Part("db"), spare, optional=(spare,))):
        report = await health.report()
        assert report.status == "degraded"
        assert report.ok
        assert report.checks["youtube"].status == "down"


@virtual_time
async def test_a_thousand_probes_look_once_per_ttl() -> None:
    part = Part("db", takes=0.01)
    health = Health(part, ttl=2)
    await asyncio.gather(*(health.report() for _ in range(1000)))
    assert part.looks == 1
    await asyncio.sleep(2.5)
    await asyncio.gather(*(health.report() for _ in range(1000)))
    assert part.looks == 2


@virtual_time
async def test_a_hung_part_is_down_after_its_timeout_and_nobody_queues_behind_it() -> None:
    part = Part("db")
    health = Health(part, Part("other"), timeout=2, ttl=1, max_wait=0.05)
    assert (await health.report()).status == "up"
    part.takes = 3600
    loop = asyncio.get_running_loop()
    await asyncio.sleep(1.5)
    waits, statuses = [], []
    for _ in range(200):
        began = loop.time()
        statuses.append((await health.report()).status)
        waits.append(loop.time() - began)
        await asyncio.sleep(0.05)
    assert max(waits) <= 0.1
    assert statuses[0] == "up"  # the last verdict, until the timeout has spoken
    assert statuses[-1] == "down"
    assert statuses == sorted(statuses, reverse=True)  # it does not flap while the part hangs
    assert (await health.report()).checks["db"].result.reason == "no answer within 2 s"


@virtual_time
async def test_a_thousand_concurrent_probes_of_a_hung_part_wait_for_nobody() -> None:
    part = Part("db")
    health = Health(part, timeout=2, ttl=1)
    await health.report()
    part.takes = 30
    await asyncio.sleep(1.5)
    loop = asyncio.get_running_loop()
    looks = part.looks

    async def probe() -> float:
        began = loop.time()
        await health.report()
        return loop.time() - began

    waits = await asyncio.gather(*(probe() for _ in range(1000)))
    assert max(waits) < 0.1
    assert part.looks == looks + 1


@virtual_time
async def test_a_part_that_was_never_seen_is_waited_for() -> None:
    report = await Health(Part("slow", takes=0.5), timeout=2, max_wait=0.05).report()
    assert report.status == "up"
    report = await Health(Part("hung", takes=60), timeout=2, max_wait=0.05).report()
    assert report.status == "down"


@virtual_time
async def test_a_check_that_ignores_cancellation_is_not_started_twice() -> None:
    class Stubborn:
        name = "stubborn"
        looks = 0

        async def check(self) -> CheckResult:
            self.looks += 1
            end = asyncio.get_running_loop().time() + 30
            while (left := end - asyncio.get_running_loop().time()) > 0:
                try:
                    await asyncio.sleep(left)
                except asyncio.CancelledError:
                    continue
            return CheckResult("up")

    part = Stubborn()
    health = Health(part, timeout=1, ttl=1)
    for _ in range(10):
        assert (await health.report()).status == "down"
        await asyncio.sleep(1.5)
    assert part.looks == 1
    await asyncio.sleep(30)
    assert (await health.report()).status in {"up", "down"}
    await asyncio.sleep(1.5)


@virtual_time
async def test_a_failing_check_is_down_and_its_text_goes_nowhere() -> None:
    part = Part("db", error=RuntimeError("postgres://u:made-up-password@db.internal/x"))
    report = await Health(part).report()
    assert report.status == "down"
    assert "made-up-password" not in str(report.private())
    assert "RuntimeError" in str(report.private())


@virtual_time
async def test_the_public_view_holds_statuses_only() -> None:
    report = await Health(Part("db", "degraded")).report()
    assert report.public() == {"status": "degraded", "checks": {"db": {"status": "degraded"}}}
    private = report.private()
    assert private["checks"]["db"]["details"] == {"host": "db.internal"}
    assert private["checks"]["db"]["reason"] == "db says degraded"


@virtual_time
async def test_the_callers_deadline_and_cancellation_are_not_the_checks() -> None:
    part = Part("db", takes=0.5)
    seen: list[object] = []
    original = part.check

    async def check() -> CheckResult:
        seen.append(Deadline.current())
        return await original()

    part.check = check  # type: ignore[method-assign]
    health = Health(part)
    with Deadline.after(0.1):
        impatient = asyncio.create_task(health.report())
        await asyncio.sleep(0.01)
    patient = asyncio.create_task(health.report())
    await asyncio.sleep(0.01)
    impatient.cancel()
    report: HealthReport = await patient
    assert report.status == "up"
    assert seen == [None]
    assert part.looks == 1


@virtual_time
async def test_each_change_is_told_once() -> None:
    runtime = Runtime()
    told: list[tuple[str, str]] = []
    runtime.events.subscribe(lambda e: told.append((e.before, e.after)), CheckChanged)
    part = Part("redis")
    health = Health(part, ttl=1, runtime=runtime)
    for status in ("up", "degraded", "degraded", "up", "up"):
        part.status = status
        await health.report()
        await asyncio.sleep(1.1)
    assert told == [("up", "degraded"), ("degraded", "up")]


def test_one_health_serves_loop_after_loop() -> None:
    part = Part("db")
    health = Health(part)
    for _ in range(2):
        assert asyncio.run(health.report()).status == "up"
    assert part.looks == 2


def test_bad_arguments_are_all_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"timeout must be a number.*no name.*two parts are called 'a'"):
        Health(Part("a"), Part("a"), object(), timeout=0)  # type: ignore[arg-type]


@virtual_time
@pytest.mark.parametrize("garbage", ["up", {"status": "up"}, 7, None, object(), CheckResult("fine")])  # type: ignore[arg-type]
async def test_garbage_of_a_check_is_that_checks_down(garbage: object) -> None:
    class Odd:
        name = "odd"

        async def check(self) -> Any:
            return garbage

    report = await Health(Part("good"), Odd()).report()
    assert {name: check.status for name, check in report.checks.items()} == {"good": "up", "odd": "down"}
    assert report.private()["checks"]["odd"]["reason"].startswith("the check returned")
    report.health_json(private=True)


@virtual_time
async def test_a_base_exception_and_a_cancel_of_a_library_are_that_checks_down() -> None:
    class Harsh(BaseException):
        pass

    class Odd:
        def __init__(self, name: str, error: BaseException) -> None:
            self.name = name
            self.error = error

        async def check(self) -> CheckResult:
            raise self.error

    health = Health(Odd("a", Harsh("secret")), Odd("b", asyncio.CancelledError()), Odd("c", GeneratorExit()))
    report = await health.report()
    assert [check.status for check in report.checks.values()] == ["down"] * 3
    assert "secret" not in str(report.private())
    assert report.checks["b"].result.reason == "the check was cancelled"


@virtual_time
async def test_a_check_that_hangs_from_the_start_delays_no_probe_beyond_a_second() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    health = Health(Part("hung", takes=60))
    assert not await health.started()
    assert loop.time() - began <= 0.5
    assert (await health.report()).status == "down"
    assert loop.time() - began < 1.5


@virtual_time
async def test_started_stays_true() -> None:
    part = Part("db")
    health = Health(part, ttl=1)
    part.status = "down"
    assert not await health.started()
    await asyncio.sleep(2)
    part.status = "degraded"
    assert await health.started()
    part.status = "down"
    await asyncio.sleep(2)
    assert await health.started()


@virtual_time
async def test_the_neutral_format() -> None:
    part = Part("db")
    part.status = "degraded"
    report = await Health(part).report()
    assert report.health_json() == {"status": "warn", "checks": {"db": [{"status": "warn"}]}}
    details = report.health_json(private=True)["checks"]
    assert details["db:responseTime"][0]["observedUnit"] == "s"


async def test_a_rate_limiter_reports_through_its_health_method() -> None:
    from prodkit.ratelimit import RateLimiter
    from prodkit.redis import RedisLink

    limiter = RateLimiter(RedisLink(None))
    report = await Health(limiter).report()
    assert (report.status, set(report.checks)) == ("up", {"ratelimit"})
    assert await Health(optional=(limiter,)).report()
    assert len((await Health(limiter, limiter).report()).checks) == 1
