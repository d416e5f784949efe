"""A form that is sent twice makes one council."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table runs add column form_key uuid")
    op.execute("alter table runs add constraint runs_form_once unique (owner_id, form_key)")


def downgrade() -> None:
    op.execute("alter table runs drop column form_key")
