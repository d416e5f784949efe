"""The tables of jobs and PgQueuer, as SQL for migrations."""

import pytest

from prodkit import jobs
from prodkit.jobs.pgqueuer_internals import queries


def test_the_scripts_make_the_tables_that_the_statements_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGQUEUER_PREFIX", raising=False)
    script = jobs.pgqueuer_schema()
    for name in ("pgqueuer", "pgqueuer_log", "pgqueuer_status"):
        assert name in script
    for name in ("prodkit_jobs", "prodkit_job_steps", "prodkit_job_chunks", "prodkit_job_schedules"):
        assert f"CREATE TABLE IF NOT EXISTS {name} " in jobs.POSTGRES_SCHEMA


def test_a_prefix_that_is_not_followed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGQUEUER_PREFIX", "shop_")
    with pytest.raises(RuntimeError, match="PGQUEUER_PREFIX is 'shop_'"):
        jobs.pgqueuer_schema()
    with pytest.raises(RuntimeError, match="unset it"):
        queries(None)  # type: ignore[arg-type]
