"""The statements of :class:`~prodkit.jobs.PostgresEngine`, and rows as values.

Each write joins the caller's ``(id, fence)`` with the run's row: where the fence has moved, nothing is written and
the id is missing from what comes back. JSON travels as text, so the pool's JSON codecs do not matter.

``limit cardinality(…)`` behind an ``unnest`` changes no result. A prepared statement's generic plan is made once, often
while the table is small. It expects 10 rows from an array that it does not know and would scan the table for them; it
expects a tenth of that, one row, behind a limit that it does not know, and looks up the primary key::

    unnest($1)                               10 × 8.3 (index) > 31 (scan of 1,000 rows)   scan: 0.15 s above 1 M runs
    unnest($1) limit cardinality($1)          1 × 8.3 (index) < 31                        index: 0.1 ms
"""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import UUID

from prodkit.jobs.values import LONGEST_WAIT, Claim, Recorded, Run

FOR_EVER: Final = LONGEST_WAIT
"""Seconds from which the delay of a run that waits for a signal means "not by itself": it has no queue row."""

_QUEUE: Final = "insert into pgqueuer (priority, entrypoint, payload, execute_after, status, dedupe_key)"
_NAMES: Final = "string_to_array({}, e'\\x1f')"
_SIGNALS: Final = _NAMES.format("r.signal")
_DUE_AGAIN: Final = """
    on conflict (dedupe_key) where ((status = any (array['queued'::pgqueuer_status, 'picked'::pgqueuer_status]))
        and (dedupe_key is not null)) do update set execute_after = excluded.execute_after"""
# Most enqueues have no key and no limit: nothing to look up, and no row to return.
ENQUEUE: Final = f"""
with run as (
    insert into prodkit_jobs (id, kind, tenant, priority, arguments, due_at, deadline_at)
    values ($1, $2, $3, $4, $5, now() + make_interval(secs => $6::float8),
            now() + make_interval(secs => $7::float8))
)
{_QUEUE}
values ($4::int, $2::text, uuid_send($1::uuid), now() + make_interval(secs => $6::float8), 'queued', $1::uuid::text)"""  # noqa: S608
ENQUEUE_KEYED: Final = f"""
with run as (
    insert into prodkit_jobs (id, kind, key, tenant, priority, arguments, due_at, deadline_at, held_back)
    values ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7::float8),
            now() + make_interval(secs => $8::float8), $9)
    on conflict (kind, key) where key is not null do nothing
    returning id, kind, priority, due_at, held_back
), queued as (
    {_QUEUE}
    select priority, kind, uuid_send(id), due_at, 'queued', id::text from run where not held_back
)
select id, true as created from run
union all
select id, false from prodkit_jobs where kind = $2 and key = $3 and not exists (select from run)"""  # noqa: S608
LOCK_TENANT: Final = "select pg_advisory_xact_lock(hashtextextended($1, 0))"
TENANT_ACTIVE: Final = """
select count(*) from prodkit_jobs
where kind = $1 and tenant = $2 and status in ('queued', 'running') and not held_back"""
HELD_BACK: Final = "select distinct kind, tenant from prodkit_jobs where held_back and status = 'queued'"
PROMOTE: Final = f"""
with next as (
    select id from prodkit_jobs where kind = $1 and tenant = $2 and status = 'queued' and held_back
    order by priority desc, id limit $3 for update
), freed as (
    update prodkit_jobs r set held_back = false from next where r.id = next.id
    returning r.id, r.kind, r.priority, r.due_at
)
{_QUEUE} select priority, kind, uuid_send(id), due_at, 'queued', id::text from freed"""  # noqa: S608

TAKE: Final = """
with taken as (
    update prodkit_jobs r
    set status = 'running', fence = r.fence + 1, takes = r.takes + 1, crashes = r.crashes + (r.status = 'running')::int,
        worker = $2, signal = null,
        started_at = coalesce(r.started_at, now())
    from (select unnest($1::uuid[]) as id limit cardinality($1::uuid[])) i
    where r.id = i.id and r.status in ('queued', 'running', 'waiting')
    returning r.*
)
select id, kind, fence, arguments, attempts, takes, crashes, tenant,
    greatest(0, extract(epoch from now() - due_at))::float8 as waited,
    extract(epoch from deadline_at - now())::float8 as seconds_left,
    case when fence > 1 then (
        select json_agg(json_build_array(s.name, s.status, s.version, s.arguments, s.result))::text
        from prodkit_job_steps s where s.run_id = taken.id) end as steps
from taken"""
DROP_QUEUE_ROWS: Final = "delete from pgqueuer where id = any($1::bigint[])"
BEAT: Final = """
with mine as (
    select r.id, i.queue_id
    from (
        select * from unnest($1::uuid[], $2::bigint[], $3::bigint[]) as u(id, fence, queue_id)
        limit cardinality($1::uuid[])
    ) i join prodkit_jobs r on r.id = i.id and r.fence = i.fence and r.status = 'running'
), renewed as (
    update pgqueuer q set heartbeat = now() from mine where q.id = mine.queue_id and q.queue_manager_id = $4
)
select id from mine"""

HOLD: Final = (
    "select true from prodkit_jobs where id = $1 and fence = $2 and status = 'running' for no key update"
)
RECORD: Final = """
with input as (
    select * from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
        as i(run_id, fence, name, status, version, arguments, result)
    limit cardinality($1::uuid[])
), held as (
    select r.id, r.fence from prodkit_jobs r
    where r.status = 'running' and (r.id, r.fence) in (select run_id, fence from input)
    order by r.id for no key update
), written as (
    insert into prodkit_job_steps (run_id, name, status, fence, version, arguments, result)
    select i.run_id, i.name, i.status, i.fence, i.version, i.arguments, i.result
    from input i join held h on h.id = i.run_id and h.fence = i.fence
    on conflict (run_id, name) do update set status = excluded.status, fence = excluded.fence,
        version = excluded.version, arguments = excluded.arguments, result = excluded.result,
        recorded_at = clock_timestamp()
)
select id, fence from held"""
RECORD_ONE: Final = """
insert into prodkit_job_steps as s (run_id, name, status, fence, version, arguments, result)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (run_id, name) do update set status = excluded.status, fence = excluded.fence,
    version = excluded.version, arguments = excluded.arguments, result = excluded.result,
    recorded_at = clock_timestamp()
    where s.status <> excluded.status or s.version <> excluded.version or s.arguments <> excluded.arguments
returning true"""
FORGET_STARTED: Final = "delete from prodkit_job_steps where run_id = $1 and name = $2 and status = 'started'"
APPEND: Final = """
with held as (
    select id from prodkit_jobs where id = $1 and fence = $2 and status = 'running' for no key update
), added as (
    insert into prodkit_job_chunks (run_id, step, seq, chunk)
    select held.id, $3, c.seq, c.chunk from held, unnest($4::int[], $5::text[]) as c(seq, chunk)
    on conflict do nothing
)
select true from held"""
CHUNKS: Final = "select chunk from prodkit_job_chunks where run_id = $1 and step = $2 order by seq"

FINISH: Final = """
with input as (
    select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[])
        as i(id, fence, queue_id, status, result, error)
    limit cardinality($1::uuid[])
), held as (
    update prodkit_jobs r
    set status = i.status, result = i.result, error = i.error, finished_at = now(), worker = null,
        attempts = r.attempts + (i.status = 'dead')::int
    from input i where r.id = i.id and r.fence = i.fence and r.status = 'running'
    returning r.id, i.queue_id, r.status
), gone as (
    delete from pgqueuer q using held where q.id = held.queue_id
    returning q.id, q.entrypoint, q.priority, held.status as outcome
), logged as (
    insert into pgqueuer_log (job_id, status, entrypoint, priority)
    select id, case outcome when 'done' then 'successful' when 'dead' then 'exception' else 'canceled'
        end::pgqueuer_status, entrypoint, priority from gone
)
select id from held
union
select r.id from prodkit_jobs r join input i on r.id = i.id and r.fence = i.fence and r.status = i.status"""
RELEASE: Final = f"""
with input as (
    select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::float8[], $5::text[], $6::bool[], $7::text[])
        as i(id, fence, queue_id, delay, error, failed, signal)
    limit cardinality($1::uuid[])
), held as (
    update prodkit_jobs r
    set status = case when i.signal is null then 'queued' else 'waiting' end, signal = i.signal, worker = null,
        error = i.error, attempts = r.attempts + i.failed::int,
        due_at = case when exists (
                select from prodkit_job_signals s where s.run_id = i.id and s.name = any({_NAMES.format("i.signal")}))
            then now() else now() + make_interval(secs => i.delay) end
    from input i where r.id = i.id and r.fence = i.fence and r.status = 'running'
    returning r.id, i.queue_id, r.due_at
), back as (
    update pgqueuer q
    set status = 'queued', execute_after = held.due_at, updated = now(), queue_manager_id = null,
        attempts = q.attempts + 1
    from held where q.id = held.queue_id and held.due_at < now() + make_interval(secs => {FOR_EVER} - 1)
), parked as (
    delete from pgqueuer q using held
    where q.id = held.queue_id and held.due_at >= now() + make_interval(secs => {FOR_EVER} - 1)
)
select id, pg_notify('prodkit_jobs', 'work') from held"""  # noqa: S608

# A signal that is committed while RELEASE runs is invisible to its snapshot: this statement looks once more.
WAKE_SIGNALLED: Final = f"""
with run as (
    select r.id from (select unnest($1::uuid[]) as id limit cardinality($1::uuid[])) i
    join prodkit_jobs r on r.id = i.id and r.status = 'waiting'
    where exists (select from prodkit_job_signals s where s.run_id = r.id and s.name = any({_SIGNALS})) for update of r
), woken as (
    update prodkit_jobs r set status = 'queued', signal = null, due_at = now()
    from run where r.id = run.id and r.status = 'waiting'
    returning r.id, r.kind, r.priority
), queued as (
    {_QUEUE} select priority, kind, uuid_send(id), now(), 'queued', id::text from woken {_DUE_AGAIN}
)
select pg_notify('prodkit_jobs', 'work') from woken"""  # noqa: S608

TAKE_SIGNAL: Final = "select data from prodkit_job_signals where run_id = $1 and name = $2"
SEND_SIGNAL: Final = f"""
with run as (
    select id, status, signal from prodkit_jobs
    where id = $1 and status in ('queued', 'running', 'waiting') for update
), stored as (
    insert into prodkit_job_signals (run_id, name, data) select id, $2, $3 from run on conflict do nothing
), woken as (
    update prodkit_jobs r set status = 'queued', signal = null, due_at = now()
    from run where r.id = run.id and run.status = 'waiting' and $2 = any({_NAMES.format("run.signal")})
    returning r.id, r.kind, r.priority
), queued as (
    {_QUEUE} select priority, kind, uuid_send(id), now(), 'queued', id::text from woken {_DUE_AGAIN}
)
select pg_notify('prodkit_jobs', 'work') is not null from run"""  # noqa: S608

NOW: Final = "select extract(epoch from clock_timestamp())::float8"
TICK: Final = """
insert into prodkit_job_schedules as s (name, last_tick) values ($1, $2)
on conflict (name) do update set last_tick = excluded.last_tick where s.last_tick < excluded.last_tick
returning xmax <> 0"""

SWEEP: Final = f"""
with lost as (
    select r.id from prodkit_jobs r
    where ((r.status in ('queued', 'running') and not r.held_back and r.created_at < now() - interval '10 seconds')
        or (r.status = 'waiting' and exists (
            select from prodkit_job_signals s where s.run_id = r.id and s.name = any({_SIGNALS}))))
      and not exists (select from pgqueuer q where q.dedupe_key = r.id::text and q.status in ('queued', 'picked'))
    limit 500 for update skip locked
), known as (
    update prodkit_jobs r set status = case r.status when 'waiting' then 'queued' else r.status end,
        due_at = case r.status when 'waiting' then now() else r.due_at end
    from lost where r.id = lost.id
    returning r.id, r.kind, r.priority, r.due_at
), queued as (
    {_QUEUE} select priority, kind, uuid_send(id), due_at, 'queued', id::text from known
    on conflict do nothing
)
select id, kind from known"""  # noqa: S608
# Statements that were prepared while the table had a few pages scan it until its statistics change. Autovacuum looks
# once a minute; this finds a table of ours that has doubled since. Only the owner may do more about it.
GROWN: Final = """
select exists (
    select from pg_class c
    where c.oid = 'prodkit_jobs'::regclass and pg_has_role(c.relowner, 'USAGE') and not pg_is_in_recovery()
      and pg_relation_size(c.oid) / current_setting('block_size')::int > 2 * greatest(c.relpages, 4))"""
ANALYZE: Final = "analyze (skip_locked) prodkit_jobs"
PURGE: Final = """
with old as (
    select id from prodkit_jobs
    where finished_at < now() - make_interval(secs => $1::float8) and (status in ('done', 'cancelled') or $3)
    order by finished_at limit $2 for update skip locked
), gone as (
    delete from prodkit_jobs r using old where r.id = old.id returning r.id
)
select count(*) from gone"""
PURGE_LOG: Final = """
delete from pgqueuer_log where created < now() - make_interval(secs => $1::float8)
    and id in (select id from pgqueuer_log order by id limit $2)"""

_RUN: Final = (
    "id, kind, status, key, tenant, priority, attempts, takes, fence, arguments, result, error,"
    " created_at, due_at, started_at, finished_at"
)
GET: Final = f"""
select {_RUN}, array(select name from prodkit_job_steps s where s.run_id = prodkit_jobs.id and s.status = 'done'
    order by recorded_at) as steps
from prodkit_jobs where id = $1"""  # noqa: S608
LIST: Final = f"""
select {_RUN}, '{{}}'::text[] as steps from prodkit_jobs
where ($1::text is null or status = $1) and ($2::text is null or kind = $2)
order by id desc limit $3"""  # noqa: S608
CANCEL: Final = """
with ended as (
    update prodkit_jobs
    set status = 'cancelled', fence = fence + 1, finished_at = now(), worker = null, held_back = false
    where id = $1 and status in ('queued', 'running', 'waiting') returning id
), gone as (
    delete from pgqueuer q using ended where q.dedupe_key = ended.id::text and q.status in ('queued', 'picked')
)
select pg_notify($2, 'cancel ' || id) is not null from ended"""
REVIVE: Final = f"""
with alive as (
    update prodkit_jobs
    set status = 'queued', attempts = 0, takes = 0, crashes = 0, fence = fence + 1, finished_at = null, due_at = now(),
        deadline_at = null, error = '', held_back = false
    where id = $1 and status in ('dead', 'cancelled') returning id, kind, priority
), queued as (
    {_QUEUE} select priority, kind, uuid_send(id), now(), 'queued', id::text from alive {_DUE_AGAIN}
)
select true from alive"""  # noqa: S608
FORGET: Final = """
with chunks as (delete from prodkit_job_chunks where run_id = $1 and step = any($2::text[]))
delete from prodkit_job_steps where run_id = $1 and name = any($2::text[])"""
ACCEPT: Final = "update prodkit_job_steps set version = '', arguments = '' where run_id = $1"
RESOLVE: Final = """
insert into prodkit_job_steps (run_id, name, status, fence, version, arguments, result)
select id, $2, 'done', fence, '', '', $3 from prodkit_jobs where id = $1
on conflict (run_id, name) do update set status = 'done', version = '', arguments = '', result = excluded.result
returning true"""
_COUNTS: Final = """count(*) filter (where status = 'queued')::int as queued,
    count(*) filter (where status = 'queued' and due_at <= now() and not held_back)::int as due,
    count(*) filter (where status = 'running')::int as running,
    count(*) filter (where status = 'waiting')::int as waiting,
    count(*) filter (where status = 'dead')::int as dead,
    coalesce(extract(epoch from now() - min(due_at) filter (
        where status = 'queued' and due_at <= now() and not held_back)), 0)::float8 as oldest_due"""
STATS: Final = f"""
select {_COUNTS},
    coalesce(extract(epoch from now() - min(started_at) filter (where status = 'running')), 0)::float8
        as oldest_running,
    count(distinct worker) filter (where status = 'running')::int as workers
from prodkit_jobs where status in ('queued', 'running', 'waiting', 'dead')"""  # noqa: S608
KINDS: Final = f"""
with recent as (
    select kind, status, due_at, held_back, finished_at from prodkit_jobs
    where status in ('queued', 'running', 'waiting', 'dead')
    union all
    select kind, status, due_at, held_back, finished_at from prodkit_jobs
    where finished_at > now() - interval '1 minute' and status in ('done', 'cancelled')
)
select kind, {_COUNTS},
    count(*) filter (where finished_at > now() - interval '1 minute')::int as ended
from recent group by kind order by kind"""  # noqa: S608


def claim_from(row: Any, queue_id: int) -> Claim:
    """Return the claim of a row of ``TAKE``."""
    return Claim(
        run_id=UUID(str(row["id"])),
        kind=row["kind"],
        fence=row["fence"],
        arguments=row["arguments"],
        attempts=row["attempts"],
        takes=row["takes"],
        crashes=row["crashes"],
        tenant=row["tenant"],
        waited=row["waited"],
        left=row["seconds_left"],
        steps={name: Recorded(*rest) for name, *rest in json.loads(row["steps"] or "[]")},
        queue_id=queue_id,
    )


def run_from(row: Any) -> Run:
    """Return the run of a row of ``GET`` or ``LIST``."""
    return Run(**{**dict(row), "id": UUID(str(row["id"])), "steps": tuple(row["steps"])})
