"""Conversations with one expert: each question with its answer is a turn, and each piece of an answer an event."""

from alembic import op

from advisory.migrations.script import statements

revision = "0010"
down_revision = "0004"
branch_labels = None
depends_on = None

UP = """
-- name, role and system are copies, as in a council: an edited expert does not change the past. opening is what the
-- model reads before the first question, such as the council that the conversation goes on from.
create table chats (
    id         uuid primary key default gen_random_uuid(),
    owner_id   bigint not null references users on delete cascade,
    expert_id  bigint references experts on delete set null,
    run_id     uuid references runs on delete set null,
    name       text not null,
    role       text not null,
    system     text not null,
    avatar_id  uuid references avatars on delete set null,
    about      text not null default '',
    opening    jsonb not null default '[]',
    form_key   uuid,
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint chats_form_once unique (owner_id, form_key)
);
create index chats_history on chats (owner_id, changed_at desc) where deleted_at is null;
create index chats_avatar on chats (avatar_id) where avatar_id is not null;

-- A question that is edited or asked again replaces its turn and the later ones; they stay to be read.
create table chat_turns (
    id              uuid primary key default gen_random_uuid(),
    chat_id         uuid not null references chats on delete cascade,
    position        integer not null check (position >= 1),
    question        text not null,
    status          text not null default 'queued' check (status in (
                        'queued', 'running', 'done', 'incomplete', 'failed', 'stopped')),
    answer          text not null default '',
    reason          text not null default '',
    model           text not null default '',
    requested_model text not null default '',
    resumed         integer not null default 0,
    left_out        integer not null default 0,
    input_tokens    bigint not null default 0,
    output_tokens   bigint not null default 0,
    estimated       boolean not null default false,
    cost            double precision,
    last_seq        bigint not null default 0,
    job             uuid,
    form_key        uuid,
    created_at      timestamptz not null default now(),
    started_at      timestamptz,
    finished_at     timestamptz,
    replaced_at     timestamptz,
    constraint chat_turns_form_once unique (chat_id, form_key)
);
create unique index chat_turns_position on chat_turns (chat_id, position) where replaced_at is null;
create unique index chat_turns_one_at_a_time on chat_turns (chat_id) where status in ('queued', 'running');

-- seq is the Last-Event-ID of the page: 1, 2, 3… without gaps, also across workers.
create table chat_events (
    turn_id uuid not null references chat_turns on delete cascade,
    seq     bigint not null,
    kind    text not null,
    data    jsonb not null default '{}',
    at      timestamptz not null default now(),
    primary key (turn_id, seq)
);
"""


def upgrade() -> None:
    for statement in statements(UP):
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop table chat_events, chat_turns, chats")
