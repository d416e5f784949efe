"""Cross-review, agreement, costs, waiting attempts, share links, and quota that is given back."""

from alembic import op

from advisory.migrations.script import statements

revision = "0020"
down_revision = "0040"
branch_labels = None
depends_on = None

UP = """
alter table runs
    add column agreement        jsonb,
    add column agreement_reason text not null default '',
    add column refunded_at      timestamptz;
create index runs_refunded on runs (owner_id, refunded_at) where refunded_at is not null;

-- The attempt that a seat waits for, while it waits.
alter table seats
    add column attempt      integer not null default 0,
    add column attempts     integer not null default 0,
    add column retry_at     timestamptz,
    add column retry_reason text not null default '',
    add column outage       boolean not null default false;

-- One row for each expert who is asked to rank the others; a run without rows has no cross-review.
create table reviews (
    run_id   uuid not null,
    position integer not null,
    seed     bigint not null,
    status   text not null default 'waiting' check (status in ('waiting', 'running', 'done', 'failed', 'stopped')),
    ranking  integer[] not null default '{}',
    reason   text not null default '',
    primary key (run_id, position),
    foreign key (run_id, position) references seats on delete cascade
);

create table spends (
    run_id        uuid not null references runs on delete cascade,
    step          text not null,
    model         text not null default '',
    input_tokens  bigint not null default 0,
    output_tokens bigint not null default 0,
    cost          double precision,
    seconds       double precision not null default 0,
    primary key (run_id, step)
);

-- Only the hash of a link's token is kept: a copy of the database opens no page.
create table shares (
    id         uuid primary key default gen_random_uuid(),
    run_id     uuid not null references runs on delete cascade,
    token_hash bytea not null unique,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index shares_run on shares (run_id);
"""


def upgrade() -> None:
    for statement in statements(UP):
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop table shares, spends, reviews")
    op.execute(
        "alter table seats drop column attempt, drop column attempts, drop column retry_at,"
        " drop column retry_reason, drop column outage"
    )
    op.execute(
        "alter table runs drop column agreement, drop column agreement_reason, drop column refunded_at"
    )
