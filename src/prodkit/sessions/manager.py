"""Load sessions for requests and carry out the changes that the requests made.

This is the whole policy between a cookie and a store; ``prodkit.web.SessionMiddleware`` is the few lines that call
:meth:`Sessions.open` and :meth:`Sessions.save` around a request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from prodkit.core.check import CheckResult
from prodkit.core.events import Event, Level, Metric, Metrics
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable
from prodkit.core.validate import Arguments
from prodkit.errors import ProdkitError
from prodkit.sessions.cookie import Keys, SessionCookie, new_id
from prodkit.sessions.device import describe_device, describe_network
from prodkit.sessions.session import Session, digest
from prodkit.sessions.store import SessionInfo, Store
from prodkit.sessions.watch import EndWatch

__all__ = ["IDLE", "LIFETIME", "SessionLost", "SessionStarted", "Sessions", "SessionsEnded"]

IDLE: Final = 3600.0
"""One hour without a request ends a session, the common setting for services with personal data."""
LIFETIME: Final = 12 * 3600.0
"""Twelve hours after the login it ends anyhow: the reauthentication limit of NIST SP 800-63B, AAL2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStarted(Event):
    """A new id was handed out.

    Args:
        reason: ``visit``, ``login`` or ``rotate``.
        authenticated: True when a user is signed in.
    """

    name = "session.started"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric("sessions_started", labels=("reason",), help="Sessions started.")
    reason: str
    authenticated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsEnded(Event):
    """Sessions were ended.

    Args:
        count: the number of sessions.
        reason: ``logout``, ``everywhere`` or ``handle``.
    """

    name = "session.ended"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric(
        "sessions_ended", labels=("reason",), value="count", help="Sessions ended."
    )
    count: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLost(Event):
    """A request wrote to a session that another request had ended; the values were dropped.

    Args:
        keys: the number of values.
    """

    name = "session.lost"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "session_writes_lost", value="keys", help="Session keys that could not be saved."
    )
    keys: int


class Sessions:
    """Server-side sessions over a store.

    ::

        accounts = Sessions(PostgresStore(db), secret=settings.session_secret, secure=production)

    The cookie is sent only when the id changes or its signing key was replaced, and removed only at a logout: a
    response in flight while another one logged in cannot overwrite the new id.

    Args:
        store: a PostgresStore, a MemoryStore, or one of your own.
        secret: signs the cookie; at least 32 characters. A sequence rotates keys: the first one signs, all verify,
            and a cookie of an old one is sent again under the first.
        secure: False drops ``__Host-`` and Secure, for development on plain http.
        cookie: name of the cookie, without the prefix.
        idle: rolling lifetime in seconds.
        lifetime: absolute lifetime in seconds, counted from the login. The cookie lives that long; the store decides.
        touch_every: seconds between two extensions of a session that is only read.
        max_bytes: size of the data of one session.
        watch_every: seconds within which a stream or socket notices that another process ended its session. Ends in
            this process are noticed at once.
        runtime: receives the events.
        name: name of the health check.
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
        watch_every: float = 2.0,
        runtime: Runtime = SYSTEM,
        name: str = "sessions",
    ) -> None:
        secrets = (secret,) if isinstance(secret, (str, Revealable)) else tuple(secret)
        check = Arguments("Sessions")
        check.seconds("idle", idle)
        check.seconds("lifetime", lifetime)
        check.that(not lifetime < idle, f"lifetime must be at least idle, got {lifetime!r}")
        check.seconds("touch_every", touch_every, zero=True)
        check.that(not touch_every >= idle, f"touch_every must be below idle, got {touch_every!r}")
        check.integer("max_bytes", max_bytes, minimum=1)
        check.seconds("watch_every", watch_every)
        check.attempt(lambda: Keys(secrets, purpose="session"))
        check.done()
        self.csrf_keys: Keys = Keys(secrets, purpose="csrf")
        """Keys for :class:`~prodkit.sessions.CsrfTokens`, derived from the same secret."""
        self.cookie: SessionCookie = SessionCookie(
            Keys(secrets, purpose="session"), name=cookie, secure=secure
        )
        self.store: Store = store
        self.idle: float = idle
        self.lifetime: float = lifetime
        self.touch_every: float = touch_every
        self.max_bytes: int = max_bytes
        self.name: str = name
        self._runtime = runtime
        self._watch = EndWatch(store, watch_every)

    async def open(self, cookies: Iterable[bytes]) -> Session:
        """Return the session named by the request's ``Cookie`` headers (`cookies`), or an empty one.

        An id that the store does not know is not adopted. Without a cookie of ours nothing is asked of the store.
        """
        found = self.cookie.find(cookies)
        if found is None:
            return Session()
        session_id, old_key = found
        stored = await self.store.load(digest(session_id))
        if stored is None:
            return Session()
        session = Session(
            session_id,
            user_id=stored.user_id,
            data=stored.data,
            idle=stored.idle,
            left=stored.left,
            age=stored.age,
        )
        session.renew_cookie = old_key
        return session

    async def save(self, session: Session, *, discard: bool = False) -> str | None:
        """Carry out the changes of `session`; return the ``Set-Cookie`` value to send, if there is one.

        Args:
            session: the session of :meth:`open`.
            discard: carry out only its logout, for a request that failed.

        Raises:
            ValueError: the data is larger than `max_bytes`.
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
        if session.renew_cookie and cookie is None:
            session.renew_cookie = False
            return self.cookie.write(session.id, max_age=session.left)
        return cookie

    async def end_all(self, user_id: str, *, keep: Session | None = None) -> int:
        """Log `user_id` out everywhere but in the session `keep`; return how many sessions ended."""
        kept = None if keep is None else (keep.previous or keep.id)
        count = await self.store.delete_user(user_id, keep=None if kept is None else digest(kept))
        self._ended(count, "everywhere")
        return count

    async def list_for(self, user_id: str) -> list[SessionInfo]:
        """Return the living sessions of `user_id`, the latest seen first."""
        return await self.store.list_user(user_id)

    async def end(self, user_id: str, handle: str) -> bool:
        """End the session that :meth:`list_for` called `handle`, if it belongs to `user_id`."""
        if all(info.handle != handle for info in await self.store.list_user(user_id)):
            return False
        done = await self.store.delete(bytes.fromhex(handle))
        self._ended(int(done), "handle")
        return done

    def handle_of(self, session: Session) -> str | None:
        """Return the handle of `session` in :meth:`list_for`, to mark "this device"; None without a stored session."""
        current = session.previous or session.id
        return None if current is None else digest(current).hex()

    async def wait_ended(self, session: Session) -> None:
        """Return when `session` has ended: by a logout, by :meth:`end` or :meth:`end_all`, or by its age."""
        if session.id is not None:
            await self._watch.wait(digest(session.id))

    async def check(self) -> CheckResult:
        """Report the store's health; make :class:`prodkit.Health` of it where the store is not in it already."""
        check = getattr(self.store, "check", None)
        if check is not None:
            found: CheckResult = await check()
            return found
        await self.store.load(bytes(32))
        return CheckResult("up")

    async def purge(self, *, batch: int = 1000) -> int:
        """Remove expired sessions, `batch` at a time; return how many. For a nightly job: they are dead already."""
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
            device=describe_device(session.device),
            network=describe_network(session.address),
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
            device=describe_device(session.device),
            network=describe_network(session.address),
        )
        if not moved and login:
            # The visitor's old session has ended, but a login proves the user's identity by itself.
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
        self._watch.look()
        if self._runtime.events.listened(SessionsEnded):
            self._runtime.events.emit(SessionsEnded(count=count, reason=reason))

    def _lost(self, keys: int) -> None:
        if self._runtime.events.listened(SessionLost):
            self._runtime.events.emit(SessionLost(keys=keys))

    def __repr__(self) -> str:
        return f"Sessions({self.cookie!r}, idle={self.idle:g}, lifetime={self.lifetime:g})"
