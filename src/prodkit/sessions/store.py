"""Where sessions are kept: the protocol, a store in PostgreSQL, and one in memory.

Every write names a session that must still be there, so nothing brings a session back that was ended meanwhile,
and names the keys it changes, so two requests that write different keys both keep theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import DatabaseError

__all__ = ["POSTGRES_SCHEMA", "Database", "MemoryStore", "PostgresStore", "SessionInfo", "Store", "Stored"]

POSTGRES_SCHEMA: Final = """\
CREATE TABLE IF NOT EXISTS prodkit_sessions (
    id_hash    bytea PRIMARY KEY CHECK (octet_length(id_hash) = 32),
    user_id    text,
    data       jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS prodkit_sessions_user ON prodkit_sessions (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS prodkit_sessions_expires ON prodkit_sessions (expires_at);
"""
"""The table that :class:`PostgresStore` works on, for your migrations. ``expires_at`` rolls, ``ends_at`` does not."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A living session as the store holds it; `idle` and `left` are seconds since the last touch and to the end."""

    user_id: str | None
    data: Mapping[str, Any]
    idle: float
    left: float


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One of a user's sessions, for a list of "where am I signed in". `handle` names it and opens nothing."""

    handle: str
    created_at: datetime
    seen_at: datetime


class Store(Protocol):
    """What :class:`~prodkit.sessions.Sessions` needs of a store. Ids arrive as SHA-256 digests, durations in
    seconds, changed values as JSON texts by key. An expired session counts as absent everywhere.
    """

    async def load(self, key: bytes) -> Stored | None:
        """The session, unchanged."""
        ...

    async def create(
        self, key: bytes, *, user_id: str | None, changed: Mapping[str, str], idle: float, lifetime: float
    ) -> None:
        """A new session."""
        ...

    async def merge(
        self, key: bytes, *, changed: Mapping[str, str], removed: Sequence[str], idle: float
    ) -> bool:
        """Writes only the named keys and extends the session; False when it is not there any more."""
        ...

    async def touch(self, key: bytes, *, idle: float, every: float) -> None:
        """Extends the session unless that was done within `every` seconds."""
        ...

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
    ) -> bool:
        """Moves the session from `key` to `new` in one step, the latest data and all; False when it is gone.
        `lifetime` None keeps the end it had.
        """
        ...

    async def delete(self, key: bytes) -> bool:
        """Ends the session; whether it was there."""
        ...

    async def delete_user(self, user_id: str, *, keep: bytes | None) -> int:
        """Ends all sessions of a user but `keep`; how many."""
        ...

    async def list_user(self, user_id: str) -> list[SessionInfo]:
        """The living sessions of a user, the latest seen first."""
        ...

    async def delete_expired(self, *, limit: int) -> int:
        """Removes up to `limit` expired sessions; how many."""
        ...


class Database(Protocol):
    """What :class:`PostgresStore` needs of a pool, as asyncpg spells it. ``prodkit.postgres.Pool`` fits."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]: ...
    async def fetchrow(self, query: str, *args: Any) -> Any: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...
    async def execute(self, query: str, *args: Any) -> Any: ...


_LOAD: Final = """\
SELECT user_id, data::text AS data,
       extract(epoch FROM now() - seen_at)::float8 AS idle, extract(epoch FROM ends_at - now())::float8 AS remaining
FROM prodkit_sessions WHERE id_hash = $1 AND expires_at > now()"""
_CREATE: Final = """\
INSERT INTO prodkit_sessions (id_hash, user_id, data, expires_at, ends_at)
VALUES ($1, $2, $3::text::jsonb,
        now() + make_interval(secs => least($4::float8, $5::float8)), now() + make_interval(secs => $5::float8))"""
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
INSERT INTO prodkit_sessions (id_hash, user_id, data, created_at, expires_at, ends_at)
SELECT $2, coalesce($3, user_id), (data - $4::text[]) || $5::text::jsonb,
       CASE WHEN $7::float8 IS NULL THEN created_at ELSE now() END,
       least(now() + make_interval(secs => $6::float8), new_end), new_end
FROM renewed RETURNING true"""
_DELETE: Final = "DELETE FROM prodkit_sessions WHERE id_hash = $1 RETURNING expires_at > now()"
_DELETE_USER: Final = """\
WITH gone AS (
    DELETE FROM prodkit_sessions WHERE user_id = $1 AND ($2::bytea IS NULL OR id_hash <> $2)
    RETURNING expires_at > now() AS alive
) SELECT count(*) FILTER (WHERE alive) FROM gone"""
_LIST_USER: Final = """\
SELECT id_hash, created_at, seen_at FROM prodkit_sessions
WHERE user_id = $1 AND expires_at > now() ORDER BY seen_at DESC"""
_DELETE_EXPIRED: Final = """\
WITH gone AS (
    DELETE FROM prodkit_sessions WHERE id_hash IN (
        SELECT id_hash FROM prodkit_sessions WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED
    ) RETURNING 1
) SELECT count(*) FROM gone"""


class PostgresStore:
    """Sessions in the table of :data:`POSTGRES_SCHEMA`. Time is the server's.

    `db` is a pool with ``fetch``, ``fetchrow``, ``fetchval`` and ``execute``. Each operation is one statement, so
    it needs no transaction. :meth:`create_table` makes the table where migrations do not.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create_table(self) -> None:
        """Runs :data:`POSTGRES_SCHEMA`, which does nothing where the table exists."""
        await self._ask(self._db.execute, POSTGRES_SCHEMA)

    async def load(self, key: bytes) -> Stored | None:
        row = await self._ask(self._db.fetchrow, _LOAD, key)
        if row is None:
            return None
        return Stored(row["user_id"], json.loads(row["data"]), max(0.0, row["idle"]), row["remaining"])

    async def create(
        self, key: bytes, *, user_id: str | None, changed: Mapping[str, str], idle: float, lifetime: float
    ) -> None:
        await self._ask(self._db.execute, _CREATE, key, user_id, _object(changed), idle, lifetime)

    async def merge(
        self, key: bytes, *, changed: Mapping[str, str], removed: Sequence[str], idle: float
    ) -> bool:
        done = await self._ask(self._db.fetchval, _MERGE, key, list(removed), _object(changed), idle)
        return bool(done)

    async def touch(self, key: bytes, *, idle: float, every: float) -> None:
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
    ) -> bool:
        done = await self._ask(
            self._db.fetchval, _ROTATE, key, new, user_id, list(removed), _object(changed), idle, lifetime
        )
        return bool(done)

    async def delete(self, key: bytes) -> bool:
        return bool(await self._ask(self._db.fetchval, _DELETE, key))

    async def delete_user(self, user_id: str, *, keep: bytes | None) -> int:
        total = 0
        # Twice: a rotation in flight may commit its new row while the first statement waits for the old one.
        for _ in range(2):
            total += await self._ask(self._db.fetchval, _DELETE_USER, user_id, keep)
        return total

    async def list_user(self, user_id: str) -> list[SessionInfo]:
        rows = await self._ask(self._db.fetch, _LIST_USER, user_id)
        return [SessionInfo(bytes(row["id_hash"]).hex(), row["created_at"], row["seen_at"]) for row in rows]

    async def delete_expired(self, *, limit: int) -> int:
        gone: int = await self._ask(self._db.fetchval, _DELETE_EXPIRED, limit)
        return gone

    @staticmethod
    async def _ask(how: Any, query: str, *args: Any) -> Any:
        try:
            return await how(query, *args)
        except OSError as error:  # what a bare asyncpg pool says of a server that is away
            raise DatabaseError(f"the session store did not answer: {type(error).__name__}") from error


class _Row:
    __slots__ = ("created_at", "data", "ends", "expires", "seen", "seen_at", "user_id")

    created_at: datetime
    seen_at: datetime

    def __init__(self, user_id: str | None, data: dict[str, str], ends: float) -> None:
        self.user_id = user_id
        self.data = data
        self.ends = ends
        self.seen = self.expires = 0.0


class MemoryStore:
    """Sessions in this process: for tests and for services with one process. A restart logs everybody out.

    Holds `max_sessions`; beyond that the one untouched for longest goes.
    """

    def __init__(self, *, max_sessions: int = 100_000, runtime: Runtime = SYSTEM) -> None:
        if max_sessions < 1:
            raise ValueError(f"max_sessions must be at least 1, got {max_sessions!r}")
        self.max_sessions = max_sessions
        self._runtime = runtime
        self._rows: dict[bytes, _Row] = {}  # the least recently touched first

    async def load(self, key: bytes) -> Stored | None:
        row = self._alive(key)
        if row is None:
            return None
        now = self._runtime.clock.monotonic()
        data = {name: json.loads(text) for name, text in row.data.items()}
        return Stored(row.user_id, data, now - row.seen, row.ends - now)

    async def create(
        self, key: bytes, *, user_id: str | None, changed: Mapping[str, str], idle: float, lifetime: float
    ) -> None:
        _object(changed)
        row = _Row(user_id, dict(changed), self._runtime.clock.monotonic() + lifetime)
        row.created_at = self._runtime.clock.now()
        self._put(key, row, idle)

    async def merge(
        self, key: bytes, *, changed: Mapping[str, str], removed: Sequence[str], idle: float
    ) -> bool:
        _object(changed)
        row = self._alive(key)
        if row is None:
            return False
        self._write(row, changed, removed)
        self._put(key, row, idle)
        return True

    async def touch(self, key: bytes, *, idle: float, every: float) -> None:
        row = self._alive(key)
        if row is not None and self._runtime.clock.monotonic() - row.seen >= every:
            self._put(key, row, idle)

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
    ) -> bool:
        _object(changed)
        row = self._alive(key)
        if row is None:
            return False
        del self._rows[key]
        self._write(row, changed, removed)
        row.user_id = user_id if user_id is not None else row.user_id
        if lifetime is not None:
            row.ends = self._runtime.clock.monotonic() + lifetime
            row.created_at = self._runtime.clock.now()
        self._put(new, row, idle)
        return True

    async def delete(self, key: bytes) -> bool:
        alive = self._alive(key) is not None
        self._rows.pop(key, None)
        return alive

    async def delete_user(self, user_id: str, *, keep: bytes | None) -> int:
        gone = [key for key, row in self._rows.items() if row.user_id == user_id and key != keep]
        return sum([await self.delete(key) for key in gone])

    async def list_user(self, user_id: str) -> list[SessionInfo]:
        mine = [key for key, row in self._rows.items() if row.user_id == user_id and self._alive(key)]
        return [SessionInfo(k.hex(), self._rows[k].created_at, self._rows[k].seen_at) for k in reversed(mine)]

    async def delete_expired(self, *, limit: int) -> int:
        gone = [key for key in self._rows if self._alive(key) is None][:limit]
        for key in gone:
            del self._rows[key]
        return len(gone)

    def _alive(self, key: bytes) -> _Row | None:
        row = self._rows.get(key)
        return row if row is not None and row.expires > self._runtime.clock.monotonic() else None

    def _put(self, key: bytes, row: _Row, idle: float) -> None:
        row.seen = self._runtime.clock.monotonic()
        row.seen_at = self._runtime.clock.now()
        row.expires = min(row.seen + idle, row.ends)
        self._rows.pop(key, None)
        self._rows[key] = row
        while len(self._rows) > self.max_sessions:
            del self._rows[next(iter(self._rows))]

    @staticmethod
    def _write(row: _Row, changed: Mapping[str, str], removed: Sequence[str]) -> None:
        for name in removed:
            row.data.pop(name, None)
        row.data.update(changed)


def _object(changed: Mapping[str, str]) -> str:
    """One JSON object of texts by key. NUL cannot be stored in a jsonb, so no store takes it."""
    for name, text in changed.items():
        if "\\u0000" in text.replace("\\\\", "") or "\0" in name:
            raise ValueError(f"session[{name!r}] holds a NUL character, which cannot be stored")
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in changed.items()) + "}"
