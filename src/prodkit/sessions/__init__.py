"""Who is asking: server-side sessions, CSRF decisions, and passwords.

A Starlette or FastAPI app hands them to ``prodkit.web``::

    accounts = sessions.Sessions(sessions.PostgresStore(db), secret=settings.session_secret)
    web.install(app, sessions=accounts)

and its handlers then use ``request.session``: a dict that is saved by itself, with ``login``, ``logout``,
``rotate`` and ``user_id``.
"""

from prodkit.sessions.cookie import Keys, SessionCookie
from prodkit.sessions.csrf import CsrfDecision, CsrfTokens, OriginPolicy
from prodkit.sessions.manager import SessionLost, Sessions, SessionsEnded, SessionStarted
from prodkit.sessions.passwords import Passwords
from prodkit.sessions.session import Session
from prodkit.sessions.store import (
    POSTGRES_SCHEMA,
    Database,
    MemoryStore,
    PostgresStore,
    SessionInfo,
    Store,
    Stored,
)

__all__ = [
    "POSTGRES_SCHEMA",
    "CsrfDecision",
    "CsrfTokens",
    "Database",
    "Keys",
    "MemoryStore",
    "OriginPolicy",
    "Passwords",
    "PostgresStore",
    "Session",
    "SessionCookie",
    "SessionInfo",
    "SessionLost",
    "SessionStarted",
    "Sessions",
    "SessionsEnded",
    "Store",
    "Stored",
]
