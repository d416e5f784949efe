"""Answers of conversations: the requests whose usage was never reported, since their worker died or was stopped."""

from alembic import op

from advisory.migrations.script import statements

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

UP = """
-- Each beginning of a turn sends one request; the end that reports its usage sets the number back to 0.
alter table chat_turns add column unreported integer not null default 0;
update chat_turns set unreported = 1 where status = 'running' or (status in ('queued', 'stopped') and answer <> '');
"""


def upgrade() -> None:
    for statement in statements(UP):
        op.execute(statement)


def downgrade() -> None:
    op.execute("alter table chat_turns drop column unreported")
