"""Answers of conversations: the attempt that waits, quota that is given back, and the part whose usage is known."""

from alembic import op

from advisory.migrations.script import statements

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

UP = """
-- As for seats: the attempt that an answer waits for, while it waits. counted is the number of characters whose tokens
-- are in the turn's sums; those behind it came from a request that was never reported, since its worker died.
alter table chat_turns
    add column attempt      integer not null default 0,
    add column attempts     integer not null default 0,
    add column retry_at     timestamptz,
    add column retry_reason text not null default '',
    add column counted      integer not null default 0,
    add column refunded_at  timestamptz;
update chat_turns set counted = char_length(answer) where status not in ('queued', 'running', 'stopped');
create index chat_turns_refunded on chat_turns (refunded_at) where refunded_at is not null;
"""


def upgrade() -> None:
    for statement in statements(UP):
        op.execute(statement)


def downgrade() -> None:
    op.execute(
        "alter table chat_turns drop column attempt, drop column attempts, drop column retry_at,"
        " drop column retry_reason, drop column counted, drop column refunded_at"
    )
