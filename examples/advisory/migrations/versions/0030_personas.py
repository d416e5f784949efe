"""Personas, research over public sources, and the persona that a council's question was about."""

from alembic import op

from advisory.migrations.script import statements

revision = "0030"
down_revision = "0010"
branch_labels = None
depends_on = None

UP = """
-- version rises with every change that a prompt would show.
create table personas (
    id         bigint generated always as identity primary key,
    owner_id   bigint not null references users on delete cascade,
    name       text not null,
    role       text not null,
    goals      text not null default '',
    style      text not null default '',
    profile    text not null default '',
    avatar_id  uuid references avatars on delete set null,
    version    integer not null default 1,
    created_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index personas_owner on personas (owner_id) where deleted_at is null;

-- an expert that stands for a real person says so wherever it speaks.
alter table experts add column simulated boolean not null default false;

alter table runs add column persona_id bigint references personas on delete set null;
alter table runs add column persona_version integer;
alter table runs add column persona_name text not null default '';

-- kind 'enrichment' has a persona; kind 'clone' becomes an expert when its draft is accepted.
create table researches (
    id          uuid primary key default gen_random_uuid(),
    owner_id    bigint not null references users on delete cascade,
    kind        text not null check (kind in ('enrichment', 'clone')),
    persona_id  bigint references personas on delete cascade,
    expert_id   bigint references experts on delete set null,
    subject     text not null,
    context     text not null default '',
    status      text not null default 'queued' check (status in (
                    'queued', 'running', 'done', 'partial', 'failed', 'stopped')),
    last_seq    bigint not null default 0,
    job         uuid,
    form_key    uuid,
    created_at  timestamptz not null default now(),
    finished_at timestamptz,
    accepted_at timestamptz,
    constraint researches_form_once unique (owner_id, form_key)
);
create index researches_of on researches (owner_id, created_at desc);
create unique index researches_at_once on researches (persona_id) where status in ('queued', 'running');

create table research_sources (
    research_id uuid not null references researches on delete cascade,
    position    integer not null,
    name        text not null,
    status      text not null default 'waiting' check (status in (
                    'waiting', 'running', 'done', 'failed', 'unset', 'stopped')),
    text        text not null default '',
    items       jsonb not null default '[]',
    reason      text not null default '',
    model       text not null default '',
    avatar_id   uuid references avatars on delete set null,
    fetched_at  timestamptz,
    started_at  timestamptz,
    finished_at timestamptz,
    primary key (research_id, name)
);

create table research_events (
    research_id uuid not null references researches on delete cascade,
    seq         bigint not null,
    kind        text not null,
    data        jsonb not null default '{}',
    at          timestamptz not null default now(),
    primary key (research_id, seq)
);
"""


def upgrade() -> None:
    for statement in statements(UP):
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop table research_events, research_sources, researches")
    op.execute(
        "alter table runs drop column persona_id, drop column persona_version, drop column persona_name"
    )
    op.execute("alter table experts drop column simulated")
    op.execute("drop table personas")
