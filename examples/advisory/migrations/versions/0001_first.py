"""Accounts, sessions, experts with avatars, council runs with their seats and events, and PgQueuer's tables."""

from alembic import op
from pgqueuer.adapters.persistence.schema_ddl import render_install, render_uninstall
from pgqueuer.domain.settings import DBSettings

from advisory.migrations.script import statements
from prodkit.sessions import POSTGRES_SCHEMA

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UP = """
create table users (
    id            bigint generated always as identity primary key,
    email         text not null check (email = lower(email)),
    name          text not null,
    password_hash text not null,
    created_at    timestamptz not null default now(),
    constraint users_email_unique unique (email)
);

create table avatars (
    id         uuid primary key default gen_random_uuid(),
    owner_id   bigint references users on delete cascade,
    content    bytea not null,
    media_type text not null check (media_type like 'image/%'),
    sha256     text not null,
    width      integer not null,
    height     integer not null,
    created_at timestamptz not null default now()
);

-- owner_id is null: seeded, visible to every account and read-only.
create table experts (
    id         bigint generated always as identity primary key,
    owner_id   bigint references users on delete cascade,
    slug       text unique,
    name       text not null,
    role       text not null,
    goals      text not null default '',
    style      text not null default '',
    avatar_id  uuid references avatars on delete set null,
    created_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index experts_owner on experts (owner_id) where deleted_at is null;

-- fence rises with each worker that takes the run, and with a stop: a write under an older number is refused.
create table runs (
    id               uuid primary key default gen_random_uuid(),
    owner_id         bigint not null references users on delete cascade,
    question         text not null,
    status           text not null default 'queued' check (status in (
                         'queued', 'running', 'done', 'partial', 'unsynthesised', 'no_quorum', 'stopped')),
    fence            bigint not null default 0,
    last_seq         bigint not null default 0,
    job_id           bigint,
    synthesis        text not null default '',
    synthesis_model  text not null default '',
    synthesis_reason text not null default '',
    created_at       timestamptz not null default now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    deleted_at       timestamptz
);
create index runs_history on runs (owner_id, created_at desc) where deleted_at is null;
create index runs_unfinished on runs (created_at) where status in ('queued', 'running');

create table seats (
    run_id      uuid not null references runs on delete cascade,
    position    integer not null check (position >= 1),
    expert_id   bigint references experts on delete set null,
    name        text not null,
    role        text not null,
    system      text not null,
    avatar_id   uuid references avatars on delete set null,
    status      text not null default 'waiting' check (status in (
                    'waiting', 'running', 'done', 'failed', 'stopped')),
    text        text not null default '',
    reason      text not null default '',
    model       text not null default '',
    started_at  timestamptz,
    finished_at timestamptz,
    primary key (run_id, position)
);

-- seq is the Last-Event-ID of the page: 1, 2, 3… without gaps, also across workers.
create table run_events (
    run_id uuid not null references runs on delete cascade,
    seq    bigint not null,
    kind   text not null,
    data   jsonb not null default '{}',
    at     timestamptz not null default now(),
    primary key (run_id, seq)
);
"""


def upgrade() -> None:
    for script in (UP, POSTGRES_SCHEMA, render_install(DBSettings())):
        for statement in statements(script):
            op.execute(statement)


def downgrade() -> None:
    op.execute("drop table run_events, seats, runs, experts, avatars, users, prodkit_sessions")
    for statement in statements(render_uninstall(DBSettings())):
        op.execute(statement)
