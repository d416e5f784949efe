"""Deletions of prodkit.postgres.SoftDelete: each has an id and a reason, and is restored as a whole."""

from alembic import op

from advisory.migrations.script import statements
from prodkit.postgres.softdelete import DELETIONS_SCHEMA

revision = "0040"
down_revision = "0030"
branch_labels = None
depends_on = None

TABLES = ("runs", "experts", "personas", "chats")
UP = """
alter table {0} add column deletion_id uuid;
update {0} set deletion_id = gen_random_uuid() where deleted_at is not null;
insert into prodkit_deletions (id, table_name, created_at)
    select deletion_id, '{0}', deleted_at from {0} where deletion_id is not null;
create index {0}_deleted on {0} (deleted_at, deletion_id) where deleted_at is not null;
"""


def upgrade() -> None:
    for script in (DELETIONS_SCHEMA, *(UP.format(table) for table in TABLES)):
        for statement in statements(script):
            op.execute(statement)


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"alter table {table} drop column deletion_id")
    op.execute("drop table prodkit_deletions")
