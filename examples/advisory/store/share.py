"""Read-only links to a council: an unguessable token, of which only the hash is kept, and an end."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from prodkit import postgres

__all__ = ["MAX_SHARES", "SHARE_DAYS", "Share", "Shares"]

SHARE_DAYS = (1, 7, 30)
"""The lifetimes that the page offers."""
MAX_SHARES = 10
"""Links to one council that may be valid at the same time."""


@dataclass(frozen=True, slots=True)
class Share:
    """A link that is valid; its address is known only to those who have it."""

    id: UUID
    created_at: datetime
    expires_at: datetime


class Shares:
    """Every statement but the one that opens a link names the owner."""

    def __init__(self, db: postgres.Pool) -> None:
        self._db = db

    async def add(self, owner_id: int, run_id: UUID, *, days: int) -> str | None:
        """The token of a new link to one's own finished council; None when there is no such, or too many links."""
        token = secrets.token_urlsafe(32)
        async with self._db.transaction() as tx:
            own = await tx.fetchval(
                """select true from runs where id = $1 and owner_id = $2 and deleted_at is null
                   and status not in ('queued', 'running') for update""",
                run_id,
                owner_id,
            )
            valid = await tx.fetchval(
                "select count(*) from shares where run_id = $1 and expires_at > now()", run_id
            )
            if not own or valid >= MAX_SHARES:
                return None
            await tx.execute(
                "insert into shares (run_id, token_hash, expires_at) values ($1, $2, now() + $3)",
                run_id,
                _hash(token),
                timedelta(days=days),
            )
        return token

    async def valid(self, owner_id: int, run_id: UUID) -> list[Share]:
        """The links to one's own council that open today."""
        rows = await self._db.fetch(
            """select shares.id, shares.created_at, expires_at from shares join runs on runs.id = run_id
               where run_id = $1 and owner_id = $2 and expires_at > now() order by shares.created_at""",
            run_id,
            owner_id,
        )
        return [Share(*row.values()) for row in rows]

    async def revoke(self, owner_id: int, run_id: UUID, share_id: UUID) -> bool:
        """End a link at once."""
        done = await self._db.execute(
            """delete from shares using runs
               where shares.id = $3 and run_id = $2 and runs.id = run_id and owner_id = $1""",
            owner_id,
            run_id,
            share_id,
        )
        return done == "DELETE 1"

    async def open(self, token: str) -> tuple[int, UUID] | None:
        """The owner and the council behind a token; None for one that is unknown, over, revoked, or in the bin."""
        row = await self._db.fetchrow(
            """select owner_id, run_id from shares join runs on runs.id = run_id
               where token_hash = $1 and expires_at > now() and deleted_at is null""",
            _hash(token),
        )
        return None if row is None else (row["owner_id"], row["run_id"])


def _hash(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()
