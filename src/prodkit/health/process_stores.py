"""Stores in which the processes of a service leave their health reports for each other: Redis or PostgreSQL.

Both stamp by the server's clock, so that processes with different clocks agree on the age of a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from prodkit.redis import RedisLink

__all__ = ["POSTGRES_SCHEMA", "PostgresReports", "RedisReports", "Reports", "StoredReport"]

POSTGRES_SCHEMA: Final = """\
CREATE TABLE IF NOT EXISTS prodkit_health (
    service text NOT NULL,
    process text NOT NULL,
    report  text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (service, process)
);
"""
"""The table of :class:`PostgresReports`, for your migrations; running it again changes nothing."""


@dataclass(frozen=True, slots=True)
class StoredReport:
    """The last report of one process.

    Args:
        process: the process.
        report: its text.
        age: seconds since it was left, by the store's clock.
    """

    process: str
    report: str
    age: float


class Reports(Protocol):
    """Keeps the last report of each process of a service."""

    async def put(self, service: str, process: str, report: str, *, keep: float) -> None:
        """Leave the report of a process, and forget those that are older than `keep`.

        Args:
            service: the service.
            process: the process.
            report: its text.
            keep: seconds.
        """
        ...

    async def list(self, service: str) -> list[StoredReport]:
        """Return the reports of all processes of `service`."""
        ...

    async def remove(self, service: str, process: str) -> None:
        """Forget a process that leaves.

        Args:
            service: the service.
            process: the process.
        """
        ...


class Database(Protocol):
    """The part of a pool that :class:`PostgresReports` uses, as asyncpg spells it. ``prodkit.postgres.Pool`` fits."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """Return all rows of `query` with `args`."""
        ...

    async def execute(self, query: str, *args: Any) -> Any:
        """Run `query` with `args`; without arguments it may hold several statements."""
        ...


# A hash of "milliseconds report" by process; the whole key expires `keep` after the last report.
_PUT: Final = """\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local seen = tonumber(string.match(all[at + 1], '^(%d+) ')) or 0  -- a value that is not ours goes, too
  if now - seen > tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], all[at]) end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
"""
_LIST: Final = """\
local time = redis.call('TIME')
return {string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), redis.call('HGETALL', KEYS[1])}
"""


class RedisReports:
    """Health reports in Redis, in one hash a service.

    Args:
        redis: the link.
        namespace: prefix of the keys.
    """

    def __init__(self, redis: RedisLink, *, namespace: str = "health") -> None:
        self._redis = redis
        self._namespace = namespace

    def _key(self, service: str) -> str:
        return f"{self._namespace}:{{{service}}}"

    async def put(self, service: str, process: str, report: str, *, keep: float) -> None:
        """Leave the report of a process, and forget those that are older than `keep`.

        Args:
            service: the service.
            process: the process.
            report: its text.
            keep: seconds.
        """
        key = self._key(service)
        await self._redis.execute("EVAL", _PUT, 1, key, process, report, max(1, int(keep * 1000)), key=key)

    async def list(self, service: str) -> list[StoredReport]:
        """Return the reports of all processes.

        Args:
            service: the service.
        """
        key = self._key(service)
        now, flat = await self._redis.execute("EVAL", _LIST, 1, key, key=key)
        found: list[StoredReport] = []
        for process, value in zip(flat[::2], flat[1::2], strict=True):
            stamp, _, report = value.decode(errors="replace").partition(" ")
            if stamp.isdecimal():
                age = max(0.0, (int(now) - int(stamp)) / 1000)
                found.append(StoredReport(process.decode(errors="replace"), report, age))
        return found

    async def remove(self, service: str, process: str) -> None:
        """Forget a process that leaves.

        Args:
            service: the service.
            process: the process.
        """
        key = self._key(service)
        await self._redis.execute("HDEL", key, process, key=key)


class PostgresReports:
    """Health reports in PostgreSQL, in the table of :data:`POSTGRES_SCHEMA`.

    Args:
        db: the pool.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create_table(self) -> None:
        """Create the table where it does not exist; a migration with :data:`POSTGRES_SCHEMA` does the same."""
        await self._db.execute(POSTGRES_SCHEMA)

    async def put(self, service: str, process: str, report: str, *, keep: float) -> None:
        """Leave the report of a process, and forget those that are older than `keep`.

        Args:
            service: the service.
            process: the process.
            report: its text.
            keep: seconds.
        """
        await self._db.execute(
            "WITH gone AS (DELETE FROM prodkit_health WHERE service = $1 AND process <> $2"
            " AND seen_at < now() - make_interval(secs => $4::float8)) "
            "INSERT INTO prodkit_health (service, process, report) VALUES ($1, $2, $3)"
            " ON CONFLICT (service, process) DO UPDATE SET report = excluded.report, seen_at = now()",
            service,
            process,
            report,
            keep,
        )

    async def list(self, service: str) -> list[StoredReport]:
        """Return the reports of all processes.

        Args:
            service: the service.
        """
        rows = await self._db.fetch(
            "SELECT process, report, extract(epoch FROM now() - seen_at)::float8 AS age FROM prodkit_health"
            " WHERE service = $1 ORDER BY process",
            service,
        )
        return [StoredReport(row["process"], row["report"], max(0.0, row["age"])) for row in rows]

    async def remove(self, service: str, process: str) -> None:
        """Forget a process that leaves.

        Args:
            service: the service.
            process: the process.
        """
        await self._db.execute(
            "DELETE FROM prodkit_health WHERE service = $1 AND process = $2", service, process
        )
