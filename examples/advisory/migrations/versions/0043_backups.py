"""Verified backups, for the health report."""

from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """create table backups (
               id          bigint generated always as identity primary key,
               name        text not null,
               bytes       bigint not null,
               verified_at timestamptz not null default now()
           )"""
    )


def downgrade() -> None:
    op.execute("drop table backups")
