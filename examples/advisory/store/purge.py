"""Permanent removal, after the ninety days in the bin that the page promises."""

from __future__ import annotations

from advisory.store.deleted import CHATS, EXPERTS, KEPT_DAYS, PERSONAS, RUNS
from prodkit import postgres
from prodkit.sessions import PostgresStore

__all__ = ["KEPT_DAYS", "purge"]


async def purge(db: postgres.Pool) -> int:
    """Remove what was deleted 90 days ago, unused avatars and expired sessions; return the number of rows.

    Several workers may do it at once: each row is removed once, and a row restored in between stays.
    """
    report = await postgres.Purge(RUNS, EXPERTS, PERSONAS, CHATS, days=KEPT_DAYS).run(db)
    gone = sum(report.rows.values())
    async with db.transaction() as tx:
        status = await tx.execute(
            """delete from avatars where not exists (select 1 from experts where avatar_id = avatars.id)
               and not exists (select 1 from seats where seats.avatar_id = avatars.id)
               and not exists (select 1 from chats where chats.avatar_id = avatars.id)
               and not exists (select 1 from personas where personas.avatar_id = avatars.id)
               and not exists (select 1 from research_sources where research_sources.avatar_id = avatars.id)
               and created_at < now() - interval '1 day'"""
        )
        gone += int(status.rpartition(" ")[2])
    await db.execute("delete from password_recoveries where expires_at < now()")
    await db.execute("delete from shares where expires_at < now()")
    return gone + await PostgresStore(db).delete_expired(limit=1000)
