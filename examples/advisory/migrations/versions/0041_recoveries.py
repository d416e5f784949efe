"""Links for choosing a new password: one a person, of which only a hash is kept."""

from alembic import op

revision = "0041"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """create table password_recoveries (
               user_id    bigint primary key references users on delete cascade,
               token_hash text not null unique,
               expires_at timestamptz not null,
               created_at timestamptz not null default now()
           )"""
    )


def downgrade() -> None:
    op.execute("drop table password_recoveries")
