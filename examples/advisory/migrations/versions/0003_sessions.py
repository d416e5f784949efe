"""Device and network of each session, for "where am I signed in"."""

from alembic import op

from advisory.migrations.script import statements
from prodkit.sessions import POSTGRES_SCHEMA

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for statement in statements(POSTGRES_SCHEMA):
        op.execute(statement)


def downgrade() -> None:
    op.execute("alter table prodkit_sessions drop column device, drop column network")
