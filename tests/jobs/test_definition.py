from typing import Any

import pytest

from prodkit import jobs
from prodkit.jobs.definition import engine_of
from prodkit.policies.backoff import constant


async def charge(amount: int, currency: str = "BRL") -> str:
    return f"{amount} {currency}"


def test_a_job_is_named_after_its_function_unless_a_name_is_given() -> None:
    assert jobs.job(charge).name == f"{__name__}.charge"
    assert jobs.job(name="pay")(charge).name == "pay"
    assert jobs.job(charge).__doc__ == charge.__doc__


def test_a_job_of_your_own_waits_longer_after_each_failure_by_default() -> None:
    made = jobs.job(charge)
    assert (made.attempts, made.timeout, made.max_crashes) == (3, None, 10)
    assert jobs.job(backoff=constant(3))(charge).backoff(2, None, 0.0) == 3  # type: ignore[arg-type]


def test_all_wrong_options_are_named_at_once() -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        jobs.job(attempts=0, timeout=-1, concurrency=True, schedule="daily")(charge)  # type: ignore[call-overload]
    for name in ("attempts", "timeout", "concurrency", "schedule"):
        assert name in str(refused.value)


def test_a_plain_function_is_no_job() -> None:
    with pytest.raises((TypeError, ValueError), match="async function"):
        jobs.job(len)  # type: ignore[arg-type]


def test_a_run_holds_arguments_that_fit_the_function() -> None:
    run = jobs.job(name="pay")(charge).new_run(3, currency="EUR")
    assert (run.kind, run.key, run.delay) == ("pay", None, 0.0)
    assert "EUR" in run.arguments
    wrong: Any = jobs.job(charge)
    with pytest.raises(TypeError, match="amount"):
        wrong.new_run()
    with pytest.raises(TypeError):
        wrong.new_run(object())


def test_options_of_one_enqueue_leave_the_job_as_it_is() -> None:
    made = jobs.job(tenant_limit=2)(charge)
    run = made.using(key="k", tenant="ana", priority=5, delay=1.5, deadline=60).new_run(3)
    assert (run.key, run.tenant, run.priority, run.delay, run.deadline) == ("k", "ana", 5, 1.5, 60)
    assert run.tenant_limit == 2
    plain = made.new_run(3)
    assert (plain.key, plain.tenant_limit) == (None, 0)
    with pytest.raises((TypeError, ValueError), match=r"delay.*deadline"):
        made.using(delay=-1, deadline=0)


async def test_calling_a_job_runs_the_function_in_place() -> None:
    assert await jobs.job(charge)(3) == "3 BRL"


async def test_a_key_gives_the_run_that_is_there() -> None:
    engine = jobs.MemoryEngine()
    made = jobs.job(charge).using(key="order-7")
    first, second = await made.enqueue(engine, 3), await made.enqueue(engine, 3)
    assert (first.created, second.created) == (True, False)
    assert first.id == second.id


def test_something_else_than_a_database_is_refused() -> None:
    engine = jobs.MemoryEngine()
    assert engine_of(engine) == (engine, None)
    with pytest.raises(TypeError, match="expected a Pool"):
        engine_of("postgresql://db")


def test_a_cron_schedule_is_in_utc() -> None:
    pytest.importorskip("croniter")
    nightly = jobs.Cron("0 3 * * *")
    day = 86400.0
    assert nightly.around(0.0) == (3 * 3600 - day, 3 * 3600)
    assert nightly.around(3 * 3600.0) == (3 * 3600, 3 * 3600 + day)
    with pytest.raises(ValueError, match="not a cron expression"):
        jobs.Cron("every night")


@pytest.mark.parametrize(
    "options",
    [
        {"key": "a\x00b"},
        {"key": "\ud800"},
        {"key": "é" * 800},
        {"tenant": "a\x1fb"},
        {"delay": 1e300},
        {"delay": float("inf")},
        {"deadline": 1e15},
    ],
)
def test_what_the_database_could_not_keep_is_refused_before_it_is_sent(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"using: {next(iter(options))} must"):
        jobs.job(charge).using(**options)
    with pytest.raises(ValueError, match="name must"):
        jobs.job(name="\x00")(charge)


def test_arguments_are_counted_where_that_is_enough_and_bound_where_not() -> None:
    async def strict(a: int, b: int = 2, /, *rest: int, named: int) -> None: ...
    async def open_ended(a: int, *rest: int) -> None: ...

    for fn, args, named, fits in (
        (charge, (), {}, False),
        (charge, (1,), {}, True),
        (charge, (1, "EUR"), {}, True),
        (charge, (1, "EUR", 3), {}, False),
        (charge, (1,), {"amount": 2}, False),
        (strict, (1,), {}, False),
        (strict, (1, 2, 3), {"named": 4}, True),
        (open_ended, (), {}, False),
        (open_ended, (1, 2, 3), {}, True),
    ):
        made: Any = jobs.job(fn)  # type: ignore[arg-type]
        if fits:
            made.new_run(*args, **named)
        else:
            with pytest.raises(TypeError):
                made.new_run(*args, **named)
