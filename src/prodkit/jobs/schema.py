"""The tables of jobs: ours, and those of PgQueuer.

::

    prodkit_jobs          one row a run: arguments, status, fence, result        kept until the retention ends
      ├ prodkit_job_steps     one row a recorded step
      ├ prodkit_job_chunks    the text of a streamed step, in pieces
      └ prodkit_job_signals   signals that were sent to the run
    prodkit_job_schedules one row a schedule: its last tick
    pgqueuer              one row a run that is due, delayed or in a worker      gone when the run ends

A worker looks only at ``pgqueuer``, so a million finished runs cost it nothing. The two belong together by
``pgqueuer.dedupe_key``, which is the run's id: unique while queued or picked, so a run is never queued twice.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from prodkit.errors import MissingExtraError

if TYPE_CHECKING:
    from prodkit.postgres import Pool

__all__ = ["CHANNEL", "POSTGRES_SCHEMA", "install", "pgqueuer_schema"]

CHANNEL: Final = "prodkit_jobs"
"""The NOTIFY channel for cancellations and for runs that were given back."""

POSTGRES_SCHEMA: Final = """\
CREATE TABLE IF NOT EXISTS prodkit_jobs (
    id          uuid PRIMARY KEY,
    kind        text NOT NULL,
    status      text NOT NULL DEFAULT 'queued' CHECK (status IN (
                    'queued', 'running', 'waiting', 'done', 'dead', 'cancelled')),
    fence       bigint NOT NULL DEFAULT 0,
    takes       integer NOT NULL DEFAULT 0,
    crashes     integer NOT NULL DEFAULT 0,
    attempts    integer NOT NULL DEFAULT 0,
    priority    integer NOT NULL DEFAULT 0,
    key         text,
    tenant      text,
    held_back   boolean NOT NULL DEFAULT false,
    signal      text,
    worker      uuid,
    arguments   text NOT NULL,
    result      text NOT NULL DEFAULT '',
    error       text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    due_at      timestamptz NOT NULL DEFAULT now(),
    deadline_at timestamptz,
    started_at  timestamptz,
    finished_at timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS prodkit_jobs_key ON prodkit_jobs (kind, key) WHERE key IS NOT NULL;
CREATE INDEX IF NOT EXISTS prodkit_jobs_open ON prodkit_jobs (status, due_at)
    WHERE status IN ('queued', 'running', 'waiting', 'dead');
CREATE INDEX IF NOT EXISTS prodkit_jobs_tenant ON prodkit_jobs (kind, tenant, priority DESC, id)
    WHERE tenant IS NOT NULL AND status IN ('queued', 'running');
CREATE INDEX IF NOT EXISTS prodkit_jobs_finished ON prodkit_jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS prodkit_job_steps (
    run_id      uuid NOT NULL REFERENCES prodkit_jobs ON DELETE CASCADE,
    name        text NOT NULL,
    status      text NOT NULL CHECK (status IN ('started', 'done')),
    fence       bigint NOT NULL,
    version     text NOT NULL,
    arguments   text NOT NULL,
    result      text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, name)
);
CREATE TABLE IF NOT EXISTS prodkit_job_chunks (
    run_id      uuid NOT NULL REFERENCES prodkit_jobs ON DELETE CASCADE,
    step        text NOT NULL,
    seq         integer NOT NULL,
    chunk       text NOT NULL,
    PRIMARY KEY (run_id, step, seq)
);
CREATE TABLE IF NOT EXISTS prodkit_job_signals (
    run_id      uuid NOT NULL REFERENCES prodkit_jobs ON DELETE CASCADE,
    name        text NOT NULL,
    data        text NOT NULL,
    sent_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, name)
);
CREATE TABLE IF NOT EXISTS prodkit_job_schedules (
    name        text PRIMARY KEY,
    last_tick   double precision NOT NULL
);
"""
"""Our tables, for your migrations; :func:`pgqueuer_schema` gives PgQueuer's."""


def pgqueuer_schema() -> str:
    """Return the SQL that creates PgQueuer's tables, types and trigger, for your migrations.

    Raises:
        RuntimeError: PGQUEUER_PREFIX gives PgQueuer's tables other names than those that jobs use.
    """
    refuse_prefix()
    try:
        from pgqueuer.adapters.persistence.schema_ddl import render_install
        from pgqueuer.domain.settings import DBSettings
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    return str(render_install(DBSettings()))


async def install(db: Pool) -> None:
    """Create the tables where they are missing. Several processes may do so at once.

    Args:
        db: a running pool.
    """
    from prodkit.postgres import lock_key

    script = pgqueuer_schema()
    async with db.transaction() as tx:
        await tx.execute("select pg_advisory_xact_lock($1)", lock_key("prodkit jobs schema"))
        if await tx.fetchval("select to_regclass('pgqueuer') is null"):
            await tx.execute(script)
        await tx.execute(POSTGRES_SCHEMA)


def refuse_prefix() -> None:
    """Raise RuntimeError when PgQueuer would use other table names than our statements."""
    if prefix := os.environ.get("PGQUEUER_PREFIX"):
        raise RuntimeError(
            f"prodkit.jobs uses PgQueuer's tables under their own names, and PGQUEUER_PREFIX is {prefix!r}: unset it"
            " in this process, or put the jobs into a database of their own"
        )


def _missing(error: ModuleNotFoundError) -> Exception:
    if error.name and error.name.partition(".")[0] in ("pgqueuer", "croniter"):
        return MissingExtraError.named(error.name.partition(".")[0], "jobs")
    return error


async def prepare(db: Any) -> None:
    """Raise an error that names the missing tables."""
    from prodkit.errors import DatabaseError

    names = ["prodkit_jobs", "prodkit_job_steps", "prodkit_job_chunks", "prodkit_job_schedules", "pgqueuer"]
    rows = await db.fetch(
        "select name from unnest($1::text[]) as name where to_regclass(name) is null", names
    )
    missing = [row["name"] for row in rows]
    if missing:
        raise DatabaseError(
            f"the tables of jobs are missing ({', '.join(missing)}): run `await jobs.install(db)`, or put"
            " jobs.POSTGRES_SCHEMA and jobs.pgqueuer_schema() into a migration"
        )
