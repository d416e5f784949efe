"""Loads sessions for requests and carries out what the requests asked of them.

This is the whole policy between a cookie and a store; ``prodkit.web.SessionMiddleware`` is the few lines that call
:meth:`Sessions.open` and :meth:`Sessions.save` around a request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from prodkit.core.events import Event, Metric
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable
from prodkit.errors import ProdkitError
from prodkit.sessions.cookie import Keys, SessionCookie, new_id
from prodkit.sessions.session import Session, digest
from prodkit.sessions.store import SessionInfo, Store

__all__ = ["IDLE", "LIFETIME", "SessionLost", "SessionStarted", "Sessions", "SessionsEnded"]

IDLE: Final = 3600.0
"""One hour without a request ends a session: what the service behind this kit asked for."""
LIFETIME: Final = 12 * 3600.0
"""Twelve hours after the login it ends anyhow: the reauthentication limit of NIST SP 800-63B, AAL2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStarted(Event):
    """A new id was handed out: for a new visitor, a login, or a rotation."""

    name = "session.started"
    level = "DEBUG"
    metric = Metric("sessions_started", labels=("reason",), help="Sessions started.")
    reason: str
    authenticated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsEnded(Event):
    """Sessions were ended, by a logout or by "log out everywhere"."""

    name = "session.ended"
    level = "DEBUG"
    metric = Metric("sessions_ended", labels=("reason",), value="count", help="Sessions ended.")
    count: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLost(Event):
    """A request wrote `keys` keys to a session that had been ended meanwhile; they were not kept."""

    name = "session.lost"
    level = "WARNING"
    metric = Metric("session_writes_lost", value="keys", help="Session keys that could not be saved.")
    keys: int


class Sessions:
    """Server-side sessions over a store.

    ::

        accounts = Sessions(PostgresStore(db), secret=settings.session_secret, secure=production)

    `secret` signs the cookie (32 characters at least; a sequence rotates keys, the first one signs). `secure`
    False drops ``__Host-`` and Secure, for development on plain http. `idle` is the rolling lifetime, extended at
    most once every `touch_every` seconds, and `lifetime` the absolute one; the cookie lives that long, the store
    decides. `max_bytes` bounds the data of one session.

    The cookie is sent only when the id changes, and taken back only at a logout: a response that was under way
    while another one logged in cannot overwrite the new id.
    """

    def __init__(
        self,
        store: Store,
        *,
        secret: str | Revealable | Iterable[str | Revealable],
        secure: bool = True,
        cookie: str = "session",
        idle: float = IDLE,
        lifetime: float = LIFETIME,
        touch_every: float = 60.0,
        max_bytes: int = 32_768,
        runtime: Runtime = SYSTEM,
    ) -> None:
        problems = []
        if not idle > 0:
            problems.append(f"idle must be positive, got {idle!r}")
        if not lifetime >= idle:
            problems.append(f"lifetime must be at least idle, got {lifetime!r}")
        if not 0 <= touch_every < idle:
            problems.append(f"touch_every must be at least 0 and below idle, got {touch_every!r}")
        if max_bytes < 1:
            problems.append(f"max_bytes must be at least 1, got {max_bytes!r}")
        keys = None
        secrets = (secret,) if isinstance(secret, (str, Revealable)) else tuple(secret)
        try:
            keys = Keys(secrets, purpose="session")
            self.csrf_keys = Keys(secrets, purpose="csrf")
            """Keys for :class:`~prodkit.sessions.CsrfTokens`, derived from the same secret."""
        except ValueError as error:
            problems.append(str(error))
        if problems or keys is None:
            raise ValueError("Sessions: " + "; ".join(problems))
        self.cookie = SessionCookie(keys, name=cookie, secure=secure)
        self.store = store
        self.idle = idle
        self.lifetime = lifetime
        self.touch_every = touch_every
        self.max_bytes = max_bytes
        self._runtime = runtime

    async def open(self, cookies: Iterable[bytes]) -> Session:
        """The session named by the request's ``Cookie`` headers, or an empty one.

        An id that the store does not know is not adopted. Without a cookie of ours nothing is asked of the store.
        """
        session_id = self.cookie.read(cookies)
        if session_id is None:
            return Session()
        stored = await self.store.load(digest(session_id))
        if stored is None:
            return Session()
        return Session(
            session_id, user_id=stored.user_id, data=stored.data, idle=stored.idle, left=stored.left
        )

    async def save(self, session: Session, *, discard: bool = False) -> str | None:
        """Does what was asked of `session`; returns the ``Set-Cookie`` value to send, if there is one.

        `discard` is for a request that failed: only its logout is carried out.
        """
        cookie = await self._end(session)
        if discard:
            return cookie
        changed, removed, size = session.changes()
        if changed and size > self.max_bytes:
            raise ValueError(f"a session holds at most {self.max_bytes} bytes, this one would have {size}")
        if session.is_new:
            if session.owner is None and not changed:
                return cookie
            session.id = session.id or new_id()
            return await self._create(session, changed)
        if session.rotation is not None:
            return await self._rotate(session, changed, removed) or cookie
        assert session.id is not None
        if changed or removed:
            if not await self.store.merge(
                digest(session.id), changed=changed, removed=removed, idle=self.idle
            ):
                self._lost(len(changed) + len(removed))
            session.settled()
        elif session.idle >= self.touch_every:
            await self._touch(session)
        return cookie

    async def end_all(self, user_id: str, *, keep: Session | None = None) -> int:
        """Logs `user_id` out everywhere, at once, but for the session `keep`; how many sessions ended."""
        kept = None if keep is None else (keep.previous or keep.id)
        count = await self.store.delete_user(user_id, keep=None if kept is None else digest(kept))
        self._ended(count, "everywhere")
        return count

    async def list_for(self, user_id: str) -> list[SessionInfo]:
        """The living sessions of `user_id`, the latest seen first."""
        return await self.store.list_user(user_id)

    async def end(self, user_id: str, handle: str) -> bool:
        """Ends the session that :meth:`list_for` called `handle`, if it is one of `user_id`."""
        if all(info.handle != handle for info in await self.store.list_user(user_id)):
            return False
        done = await self.store.delete(bytes.fromhex(handle))
        self._ended(int(done), "handle")
        return done

    async def purge(self, *, batch: int = 1000) -> int:
        """Removes expired sessions, `batch` at a time; how many. For a nightly job: they are dead already."""
        total = 0
        while True:
            gone = await self.store.delete_expired(limit=batch)
            total += gone
            if gone < batch:
                return total

    async def _end(self, session: Session) -> str | None:
        ended = session.ended
        if not ended:
            return None
        count = sum([await self.store.delete(digest(each)) for each in ended])
        session.forget_ended()
        self._ended(count, "logout")
        return self.cookie.clear()

    async def _create(self, session: Session, changed: dict[str, str]) -> str:
        assert session.id is not None
        reason = session.rotation or "visit"
        await self.store.create(
            digest(session.id),
            user_id=session.owner,
            changed=changed,
            idle=self.idle,
            lifetime=self.lifetime,
        )
        session.settled()
        return self._started(session, reason, self.lifetime)

    async def _rotate(self, session: Session, changed: dict[str, str], removed: list[str]) -> str | None:
        assert session.id is not None
        assert session.previous is not None
        login = session.rotation == "login"
        reason = session.rotation or ""
        moved = await self.store.rotate(
            digest(session.previous),
            digest(session.id),
            user_id=session.owner,
            changed=changed,
            removed=removed,
            idle=self.idle,
            lifetime=self.lifetime if login else None,
        )
        if not moved and login:
            # The visitor's old session ended meanwhile, but who logs in has proved who it is.
            return await self._create(session, changed)
        session.settled()
        if not moved:
            self._lost(len(changed) + len(removed))
            return None
        return self._started(session, reason, self.lifetime if login else session.left)

    async def _touch(self, session: Session) -> None:
        assert session.id is not None
        try:
            await self.store.touch(digest(session.id), idle=self.idle, every=self.touch_every)
        except ProdkitError:
            return  # the request was served; the next one will extend the session
        session.idle = 0.0

    def _started(self, session: Session, reason: str, max_age: float) -> str:
        if self._runtime.events.listened(SessionStarted):
            self._runtime.events.emit(SessionStarted(reason=reason, authenticated=session.owner is not None))
        assert session.id is not None
        return self.cookie.write(session.id, max_age=max_age)

    def _ended(self, count: int, reason: str) -> None:
        if self._runtime.events.listened(SessionsEnded):
            self._runtime.events.emit(SessionsEnded(count=count, reason=reason))

    def _lost(self, keys: int) -> None:
        if self._runtime.events.listened(SessionLost):
            self._runtime.events.emit(SessionLost(keys=keys))

    def __repr__(self) -> str:
        return f"Sessions({self.cookie!r}, idle={self.idle:g}, lifetime={self.lifetime:g})"
