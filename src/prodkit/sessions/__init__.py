"""Server-side sessions, CSRF decisions and passwords.

A Starlette or FastAPI app hands them to ``prodkit.web``::

    accounts = sessions.Sessions(sessions.PostgresStore(db), secret=settings.session_secret)
    web.install(app, sessions=accounts)

and its handlers then use ``request.session``: a dict that is saved by itself, with ``login``, ``logout``,
``rotate`` and ``user_id``. One request::

    Cookie ──► SessionCookie.find ── no signature of ours ──► empty Session, no statement
                  │ id                                          │
                  ▼                                             ▼
    Sessions.open ── Store.load ──► Session ◄── handler reads, writes, login(), logout()
                                      │ changes()
    Sessions.save ── Store.merge | touch | create | rotate | delete ──► Set-Cookie where the id changed
"""

from prodkit.sessions.cookie import Keys, SessionCookie
from prodkit.sessions.csrf import CsrfDecision, CsrfTokens, OriginPolicy
from prodkit.sessions.idempotency import (
    IDEMPOTENCY_SCHEMA,
    IdempotencyStore,
    MemoryIdempotency,
    PostgresIdempotency,
)
from prodkit.sessions.manager import SessionLost, Sessions, SessionsEnded, SessionStarted
from prodkit.sessions.memory_store import MemoryStore
from prodkit.sessions.passwords import Passwords
from prodkit.sessions.postgres_store import POSTGRES_SCHEMA, Database, PostgresStore
from prodkit.sessions.session import Session, StepUpRequiredError
from prodkit.sessions.store import SessionInfo, Store, Stored

__all__ = [
    "IDEMPOTENCY_SCHEMA",
    "POSTGRES_SCHEMA",
    "CsrfDecision",
    "CsrfTokens",
    "Database",
    "IdempotencyStore",
    "Keys",
    "MemoryIdempotency",
    "MemoryStore",
    "OriginPolicy",
    "Passwords",
    "PostgresIdempotency",
    "PostgresStore",
    "Session",
    "SessionCookie",
    "SessionInfo",
    "SessionLost",
    "SessionStarted",
    "Sessions",
    "SessionsEnded",
    "StepUpRequiredError",
    "Store",
    "Stored",
]
