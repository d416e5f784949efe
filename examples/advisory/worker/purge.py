"""Permanent removal as a scheduled job: once an hour in the whole fleet."""

from __future__ import annotations

from loguru import logger

from advisory.store.purge import purge
from prodkit import jobs, postgres

__all__ = ["purge_job"]


def purge_job(db: postgres.Pool) -> jobs.Job[[], int]:
    """The job that removes what was deleted ninety days ago, and expired sessions."""

    async def remove() -> int:
        gone = await purge(db)
        if gone:
            logger.info("purged {} rows for good", gone)
        return gone

    return jobs.Job(remove, name="purge", schedule=jobs.Cron("17 * * * *"))
