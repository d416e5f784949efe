"""The schema, as plain SQL in Alembic revisions."""

HEAD = "0045"
"""The newest revision: a database that is there needs no Alembic at start, which saves its import."""
