"""The processes of a deployment with their health; unlogged, for it is worth nothing after a crash."""

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """create unlogged table processes (
               id         uuid primary key,
               kind       text not null check (kind in ('web', 'worker', 'both')),
               host       text not null,
               pid        integer not null,
               report     jsonb not null,
               started_at timestamptz not null default now(),
               seen_at    timestamptz not null default now()
           )"""
    )


def downgrade() -> None:
    op.execute("drop table processes")
