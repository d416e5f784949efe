"""The tables of prodkit.jobs; a council's worker no longer needs a fence of its own."""

from alembic import op

from advisory.migrations.script import statements
from prodkit.jobs import POSTGRES_SCHEMA

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UP = """
alter table runs add column job uuid;
alter table runs drop column job_id;
alter table runs drop column fence;
delete from pgqueuer where entrypoint = 'council';
insert into prodkit_jobs (id, kind, arguments, created_at)
    select gen_random_uuid(), 'council', format('[["%s"],{}]', id), created_at from runs
    where status in ('queued', 'running');
update runs set job = prodkit_jobs.id from prodkit_jobs
    where prodkit_jobs.arguments = format('[["%s"],{}]', runs.id);
"""


def upgrade() -> None:
    for script in (POSTGRES_SCHEMA, UP):
        for statement in statements(script):
            op.execute(statement)


def downgrade() -> None:
    op.execute(
        "alter table runs add column job_id bigint, add column fence bigint not null default 0, drop column job"
    )
    op.execute(
        "drop table prodkit_job_steps, prodkit_job_chunks, prodkit_job_signals, prodkit_job_schedules, prodkit_jobs"
    )
