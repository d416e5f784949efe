"""Sessions in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol

from prodkit.core.check import CheckResult
from prodkit.errors import DatabaseError
from prodkit.sessions.store import SessionInfo, Stored, json_object

__all__ = ["POSTGRES_SCHEMA", "Database", "PostgresStore"]

POSTGRES_SCHEMA: Final = """\
CREATE TABLE IF NOT EXISTS prodkit_sessions (
    id_hash    bytea PRIMARY KEY CHECK (octet_length(id_hash) = 32),
    user_id    text,
    data       jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    device     text NOT NULL DEFAULT '',
    network    text NOT NULL DEFAULT ''
);
ALTER TABLE prodkit_sessions ADD COLUMN IF NOT EXISTS device text NOT NULL DEFAULT '';
ALTER TABLE prodkit_sessions ADD COLUMN IF NOT EXISTS network text NOT NULL DEFAULT '';
CREATE INDEX IF NOT EXISTS prodkit_sessions_user ON prodkit_sessions (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS prodkit_sessions_expires ON prodkit_sessions (expires_at);
"""
"""The table of :class:`PostgresStore`, for your migrations; running it again changes nothing. ``expires_at`` rolls,
``ends_at`` does not."""


class Database(Protocol):
    """The part of a pool that :class:`PostgresStore` uses, as asyncpg spells it. ``prodkit.postgres.Pool`` fits."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """Return all rows of `query` with `args`."""
        ...

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """Return the first row of `query` with `args`, or None."""
        ...

    async def fetchval(self, query: str, *args: Any) -> Any:
        """Return the first column of the first row of `query` with `args`, or None."""
        ...

    async def execute(self, query: str, *args: Any) -> Any:
        """Run `query` with `args`; without arguments it may hold several statements."""
        ...


_LOAD: Final = """\
SELECT user_id, data::text AS data,
       extract(epoch FROM now() - seen_at)::float8 AS idle, extract(epoch FROM ends_at - now())::float8 AS remaining,
       extract(epoch FROM now() - created_at)::float8 AS age
FROM prodkit_sessions WHERE id_hash = $1 AND expires_at > now()"""
_CREATE: Final = """\
INSERT INTO prodkit_sessions (id_hash, user_id, data, expires_at, ends_at, device, network)
VALUES ($1, $2, $3::text::jsonb,
        now() + make_interval(secs => least($4::float8, $5::float8)), now() + make_interval(secs => $5::float8),
        $6, $7)"""
_MERGE: Final = """\
UPDATE prodkit_sessions
SET data = (data - $2::text[]) || $3::text::jsonb, seen_at = now(),
    expires_at = least(now() + make_interval(secs => $4::float8), ends_at)
WHERE id_hash = $1 AND expires_at > now() RETURNING true"""
_TOUCH: Final = """\
UPDATE prodkit_sessions
SET seen_at = now(), expires_at = least(now() + make_interval(secs => $2::float8), ends_at)
WHERE id_hash = $1 AND expires_at > now() AND seen_at <= now() - make_interval(secs => $3::float8)"""
_ROTATE: Final = """\
WITH old AS (
    DELETE FROM prodkit_sessions WHERE id_hash = $1 AND expires_at > now() RETURNING *
), renewed AS (
    SELECT *, coalesce(now() + make_interval(secs => $7::float8), ends_at) AS new_end FROM old
)
INSERT INTO prodkit_sessions (id_hash, user_id, data, created_at, expires_at, ends_at, device, network)
SELECT $2, coalesce($3, user_id), (data - $4::text[]) || $5::text::jsonb,
       CASE WHEN $7::float8 IS NULL THEN created_at ELSE now() END,
       least(now() + make_interval(secs => $6::float8), new_end), new_end,
       coalesce(nullif($8, ''), device), coalesce(nullif($9, ''), network)
FROM renewed RETURNING true"""
_DELETE: Final = "DELETE FROM prodkit_sessions WHERE id_hash = $1 RETURNING expires_at > now()"
_DELETE_USER: Final = """\
WITH gone AS (
    DELETE FROM prodkit_sessions WHERE user_id = $1 AND ($2::bytea IS NULL OR id_hash <> $2)
    RETURNING expires_at > now() AS alive
) SELECT count(*) FILTER (WHERE alive) FROM gone"""
_LIST_USER: Final = """\
SELECT id_hash, created_at, seen_at, device, network FROM prodkit_sessions
WHERE user_id = $1 AND expires_at > now() ORDER BY seen_at DESC"""
_DELETE_EXPIRED: Final = """\
WITH gone AS (
    DELETE FROM prodkit_sessions WHERE id_hash IN (
        SELECT id_hash FROM prodkit_sessions WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED
    ) RETURNING 1
) SELECT count(*) FROM gone"""
_ALIVE: Final = "SELECT id_hash FROM prodkit_sessions WHERE id_hash = ANY($1::bytea[]) AND expires_at > now()"


class PostgresStore:
    """Sessions in the table of :data:`POSTGRES_SCHEMA`. Time is the server's.

    Each operation is one statement, so it needs no transaction. The methods are those of :class:`Store`.

    Args:
        db: a pool with ``fetch``, ``fetchrow``, ``fetchval`` and ``execute``.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create_table(self) -> None:
        """Run :data:`POSTGRES_SCHEMA`, where migrations do not."""
        await self._ask(self._db.execute, POSTGRES_SCHEMA)

    async def load(self, key: bytes) -> Stored | None:
        """Return the session `key`."""
        row = await self._ask(self._db.fetchrow, _LOAD, key)
        if row is None:
            return None
        idle, age = max(0.0, row["idle"]), max(0.0, row["age"])
        return Stored(row["user_id"], json.loads(row["data"]), idle, row["remaining"], age)

    async def create(
        self,
        key: bytes,
        *,
        user_id: str | None,
        changed: Mapping[str, str],
        idle: float,
        lifetime: float,
        device: str = "",
        network: str = "",
    ) -> None:
        """Insert `key` with `user_id`, `changed`, `device` and `network`, to end by `idle` and `lifetime`."""
        await self._ask(
            self._db.execute, _CREATE, key, user_id, json_object(changed), idle, lifetime, device, network
        )

    async def merge(
        self, key: bytes, *, changed: Mapping[str, str], removed: Sequence[str], idle: float
    ) -> bool:
        """Write `changed`, drop `removed` and extend `key` by `idle`; False when it is not there any more."""
        done = await self._ask(self._db.fetchval, _MERGE, key, list(removed), json_object(changed), idle)
        return bool(done)

    async def touch(self, key: bytes, *, idle: float, every: float) -> None:
        """Extend `key` by `idle` unless that was done within `every` seconds."""
        await self._ask(self._db.execute, _TOUCH, key, idle, every)

    async def rotate(
        self,
        key: bytes,
        new: bytes,
        *,
        user_id: str | None,
        changed: Mapping[str, str],
        removed: Sequence[str],
        idle: float,
        lifetime: float | None,
        device: str = "",
        network: str = "",
    ) -> bool:
        """Move `key` to `new` in one statement; False when it is gone.

        `user_id`, `changed`, `removed`, `idle`, `lifetime`, `device` and `network` are as in :meth:`Store.rotate`.
        """
        texts = json_object(changed)
        done = await self._ask(
            self._db.fetchval,
            _ROTATE,
            key,
            new,
            user_id,
            list(removed),
            texts,
            idle,
            lifetime,
            device,
            network,
        )
        return bool(done)

    async def delete(self, key: bytes) -> bool:
        """End the session `key`; return True when it was alive."""
        return bool(await self._ask(self._db.fetchval, _DELETE, key))

    async def delete_user(self, user_id: str, *, keep: bytes | None) -> int:
        """End all sessions of `user_id` but `keep`; return how many."""
        total = 0
        # Twice: a rotation in flight may commit its new row while the first statement waits for the old one.
        for _ in range(2):
            total += await self._ask(self._db.fetchval, _DELETE_USER, user_id, keep)
        return total

    async def list_user(self, user_id: str) -> list[SessionInfo]:
        """Return the living sessions of `user_id`, the latest seen first."""
        rows = await self._ask(self._db.fetch, _LIST_USER, user_id)
        return [
            SessionInfo(bytes(r["id_hash"]).hex(), r["created_at"], r["seen_at"], r["device"], r["network"])
            for r in rows
        ]

    async def delete_expired(self, *, limit: int) -> int:
        """Remove up to `limit` expired sessions; return how many."""
        gone: int = await self._ask(self._db.fetchval, _DELETE_EXPIRED, limit)
        return gone

    async def alive(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those of `keys` whose sessions are alive."""
        rows = await self._ask(self._db.fetch, _ALIVE, list(keys))
        return {bytes(row["id_hash"]) for row in rows}

    async def check(self) -> CheckResult:
        """Look for a session that cannot exist: one lookup by primary key."""
        try:
            await self.load(bytes(32))
        except DatabaseError as error:
            return CheckResult("down", f"the session table does not answer: {type(error).__name__}")
        return CheckResult("up")

    @staticmethod
    async def _ask(how: Any, query: str, *args: Any) -> Any:
        try:
            return await how(query, *args)
        except OSError as error:  # from a bare asyncpg pool whose server is away
            raise DatabaseError(f"the session store did not answer: {type(error).__name__}") from error
