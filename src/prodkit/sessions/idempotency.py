"""Answers kept by ``Idempotency-Key``: a repeated request gets the first answer instead of a second effect.

::

    first request ──► claim: a row "running" with a lease ──► handler ──► finish: the row holds the answer
    repeated        ──► running: 409     finished: the same answer     lease over (the process died): claimed again
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import DatabaseError
from prodkit.sessions.postgres_store import Database

__all__ = [
    "IDEMPOTENCY_SCHEMA",
    "Claim",
    "IdempotencyStore",
    "MemoryIdempotency",
    "PostgresIdempotency",
    "StoredAnswer",
]

IDEMPOTENCY_SCHEMA: Final = """\
CREATE TABLE IF NOT EXISTS prodkit_idempotency (
    key        bytea PRIMARY KEY CHECK (octet_length(key) = 32),
    request    bytea NOT NULL,
    claim      bytea NOT NULL,
    status     int,
    headers    jsonb,
    body       bytea,
    leased_to  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS prodkit_idempotency_expires ON prodkit_idempotency (expires_at);
"""
"""The table of :class:`PostgresIdempotency`, for your migrations."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The first answer.

    Args:
        status: HTTP status.
        headers: names and values, in order.
        body: the whole body.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The result of a claim.

    Args:
        state: ``mine`` to run the handler, ``running`` elsewhere, ``done`` with the answer, ``other`` when the key was
            used for a different request.
        answer: the first answer when ``done``.
    """

    state: Literal["mine", "running", "done", "other"]
    answer: StoredAnswer | None = None


class IdempotencyStore(Protocol):
    """The operations of a store of answers. Keys and fingerprints are 32-byte digests, durations seconds."""

    async def claim(self, key: bytes, request: bytes, token: bytes, *, lease: float, ttl: float) -> Claim:
        """Claim `key` for the request with the fingerprint `request`.

        Args:
            key: digest of user and key.
            request: digest of method, path and body.
            token: names this attempt; only it may finish or free the key.
            lease: seconds after which an unfinished attempt counts as crashed.
            ttl: seconds for which the answer is kept.
        """
        ...

    async def finish(self, key: bytes, token: bytes, answer: StoredAnswer) -> None:
        """Keep `answer` under `key`, if `token` still holds it."""
        ...

    async def free(self, key: bytes, token: bytes) -> None:
        """Give `key` back, if `token` still holds it: the attempt failed and may be repeated."""
        ...

    async def purge(self) -> int:
        """Remove expired answers; return how many."""
        ...


_CLAIM: Final = """\
INSERT INTO prodkit_idempotency AS old (key, request, claim, leased_to, expires_at)
VALUES ($1, $2, $3, now() + make_interval(secs => $4::float8), now() + make_interval(secs => $5::float8))
ON CONFLICT (key) DO UPDATE
SET request = excluded.request, claim = excluded.claim, leased_to = excluded.leased_to,
    expires_at = excluded.expires_at, status = NULL, headers = NULL, body = NULL
WHERE old.expires_at <= now() OR (old.status IS NULL AND old.leased_to <= now() AND old.request = excluded.request)
RETURNING true"""
_LOOK: Final = """\
SELECT request = $2 AS same, status, headers::text AS headers, body FROM prodkit_idempotency WHERE key = $1"""
_FINISH: Final = """\
UPDATE prodkit_idempotency SET status = $3, headers = $4::text::jsonb, body = $5 WHERE key = $1 AND claim = $2"""
_FREE: Final = "DELETE FROM prodkit_idempotency WHERE key = $1 AND claim = $2 AND status IS NULL"
_PURGE: Final = """\
WITH gone AS (DELETE FROM prodkit_idempotency WHERE expires_at <= now() RETURNING 1) SELECT count(*) FROM gone"""


class PostgresIdempotency:
    """Answers in the table of :data:`IDEMPOTENCY_SCHEMA`. Time is the server's. The methods are those of the protocol.

    Args:
        db: a pool, as for :class:`~prodkit.sessions.PostgresStore`.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create_table(self) -> None:
        """Run :data:`IDEMPOTENCY_SCHEMA`, where migrations do not."""
        await self._ask(self._db.execute, IDEMPOTENCY_SCHEMA)

    async def claim(self, key: bytes, request: bytes, token: bytes, *, lease: float, ttl: float) -> Claim:
        """Claim `key` for `request` under `token`, with `lease` and `ttl`."""
        for _ in range(3):
            if await self._ask(self._db.fetchval, _CLAIM, key, request, token, lease, ttl):
                return Claim("mine")
            row = await self._ask(self._db.fetchrow, _LOOK, key, request)
            if row is None:
                continue  # freed between the two statements
            if not row["same"]:
                return Claim("other")
            if row["status"] is None:
                return Claim("running")
            headers = tuple((name, value) for name, value in json.loads(row["headers"]))
            return Claim("done", StoredAnswer(row["status"], headers, bytes(row["body"])))
        return Claim("running")

    async def finish(self, key: bytes, token: bytes, answer: StoredAnswer) -> None:
        """Keep `answer` under `key`, if `token` still holds it."""
        headers = json.dumps(answer.headers)
        await self._ask(self._db.execute, _FINISH, key, token, answer.status, headers, answer.body)

    async def free(self, key: bytes, token: bytes) -> None:
        """Give `key` back, if `token` still holds it."""
        await self._ask(self._db.execute, _FREE, key, token)

    async def purge(self) -> int:
        """Remove expired answers; return how many."""
        gone: int = await self._ask(self._db.fetchval, _PURGE)
        return gone

    @staticmethod
    async def _ask(how: Any, query: str, *args: Any) -> Any:
        try:
            return await how(query, *args)
        except OSError as error:
            raise DatabaseError(f"the store of answers did not answer: {type(error).__name__}") from error


class _Entry:
    __slots__ = ("answer", "expires", "leased_to", "request", "token")

    def __init__(self, request: bytes, token: bytes, leased_to: float, expires: float) -> None:
        self.request = request
        self.token = token
        self.leased_to = leased_to
        self.expires = expires
        self.answer: StoredAnswer | None = None


class MemoryIdempotency:
    """Answers in this process, for tests and services with one process. The methods are those of the protocol.

    Args:
        max_answers: answers kept; beyond them the oldest is dropped.
        runtime: clock to use.
    """

    def __init__(self, *, max_answers: int = 10_000, runtime: Runtime = SYSTEM) -> None:
        self.max_answers: int = max_answers
        self._runtime = runtime
        self._entries: dict[bytes, _Entry] = {}

    async def claim(self, key: bytes, request: bytes, token: bytes, *, lease: float, ttl: float) -> Claim:
        """Claim `key` for `request` under `token`, with `lease` and `ttl`."""
        now = self._runtime.clock.monotonic()
        entry = self._entries.get(key)
        if entry is not None and entry.expires > now:
            if entry.request != request:
                return Claim("other")
            if entry.answer is not None:
                return Claim("done", entry.answer)
            if entry.leased_to > now:
                return Claim("running")
        self._entries.pop(key, None)
        self._entries[key] = _Entry(request, token, now + lease, now + ttl)
        while len(self._entries) > self.max_answers:
            del self._entries[next(iter(self._entries))]
        return Claim("mine")

    async def finish(self, key: bytes, token: bytes, answer: StoredAnswer) -> None:
        """Keep `answer` under `key`, if `token` still holds it."""
        entry = self._entries.get(key)
        if entry is not None and entry.token == token:
            entry.answer = answer

    async def free(self, key: bytes, token: bytes) -> None:
        """Give `key` back, if `token` still holds it."""
        entry = self._entries.get(key)
        if entry is not None and entry.token == token and entry.answer is None:
            del self._entries[key]

    async def purge(self) -> int:
        """Remove expired answers; return how many."""
        now = self._runtime.clock.monotonic()
        gone: Sequence[bytes] = [key for key, entry in self._entries.items() if entry.expires <= now]
        for key in gone:
            del self._entries[key]
        return len(gone)
