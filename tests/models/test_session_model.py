"""Sessions against a naive model: requests that overlap in any order, end in any order, and fail half of the time.

The model keeps plain dicts and knows the rules from the reference page, not from the code.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from prodkit.sessions import MemoryStore, Session, Sessions
from prodkit.testing import virtual_time

IDLE, LIFETIME, EVERY = 3600.0, 4 * 3600.0, 60.0


@dataclass
class Row:
    user: str | None
    data: dict[str, Any]
    seen: float
    ends: float

    def alive(self, now: float) -> bool:
        return now < min(self.seen + IDLE, self.ends)


@dataclass
class Request:
    session: Session
    browser: int
    origin: str | None  # the id that the store knew when the request began
    idle: float  # for how long that session had not been extended then
    dead: list[str] = field(default_factory=list)
    login: str | None = None
    rotate: bool = False
    written: dict[str, Any] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    was: dict[str, Any] = field(default_factory=dict)
    user: str | None = None


class SessionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = virtual_time().__enter__()
        self.accounts = Sessions(
            MemoryStore(), secret="made-up-secret-of-more-than-32-characters", idle=IDLE, lifetime=LIFETIME
        )
        self.rows: dict[str, Row] = {}
        self.ended: dict[str, bytes] = {}
        self.cookies: dict[int, bytes | None] = dict.fromkeys(range(2))
        self.requests: list[Request] = []

    def teardown(self) -> None:
        self.runner.__exit__(None, None, None)

    @property
    def now(self) -> float:
        return self.runner.get_loop().time()

    def row(self, session_id: str | None) -> Row | None:
        found = self.rows.get(session_id or "")
        return found if found is not None and found.alive(self.now) else None

    def kill(self, session_id: str) -> None:
        if session_id in self.rows:
            del self.rows[session_id]
        self.ended[session_id] = self.accounts.cookie.write(session_id, max_age=1).split(";")[0].encode()

    @precondition(lambda self: len(self.requests) < 3)
    @rule(browser=st.integers(0, 1))
    def begin(self, browser: int) -> None:
        cookie = self.cookies[browser]
        session = self.runner.run(self.accounts.open([cookie] if cookie else []))
        row = self.row(session.id)
        assert (session.id is None) == (row is None)
        request = Request(session, browser, session.id, self.now - row.seen if row else 0.0)
        if row is not None:
            assert session.owner == row.user
            assert dict(session) == row.data
            request.was, request.user = dict(row.data), row.user
        elif cookie is not None:
            assert session.owner is None
            assert dict(session) == {}
        self.requests.append(request)

    def pick(self, data: Any) -> Request:
        return self.requests[data.draw(st.integers(0, len(self.requests) - 1))]

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), key=st.sampled_from("abc"), value=st.integers(0, 3))
    def write(self, data: Any, key: str, value: int) -> None:
        request = self.pick(data)
        request.session[key] = value
        request.written[key] = value
        request.removed.discard(key)

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), key=st.sampled_from("abc"))
    def remove(self, data: Any, key: str) -> None:
        request = self.pick(data)
        request.session.pop(key, None)
        request.written.pop(key, None)
        if key in request.was:
            request.removed.add(key)

    def _forget(self, request: Request) -> None:
        if request.origin is not None:
            request.dead.append(request.origin)
        request.origin, request.user, request.login, request.rotate = None, None, None, False
        request.written, request.removed, request.was = {}, set(), {}

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def logout(self, data: Any) -> None:
        request = self.pick(data)
        request.session.logout()
        self._forget(request)

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), user=st.sampled_from("78"))
    def login(self, data: Any, user: str) -> None:
        request = self.pick(data)
        request.session.login(user)
        if request.user is not None and request.user != user:
            self._forget(request)
        request.login = request.user = user

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def rotate(self, data: Any) -> None:
        request = self.pick(data)
        request.session.rotate()
        request.rotate = request.origin is not None

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), ok=st.booleans())
    def finish(self, data: Any, ok: bool) -> None:
        request = self.pick(data)
        self.requests.remove(request)
        header = self.runner.run(self.accounts.save(request.session, discard=not ok))
        for session_id in request.dead:
            self.kill(session_id)
        handed = self._expected(request) if ok else False
        new_id = request.session.id
        if handed:
            assert header is not None
            assert "Max-Age=0" not in header
            assert new_id is not None
            self.cookies[request.browser] = header.split(";")[0].encode()
        elif request.dead:
            assert header is not None
            assert "Max-Age=0" in header
            self.cookies[request.browser] = None
        else:
            assert header is None

    def _expected(self, request: Request) -> bool:
        """Brings the model up to date; whether a new id was handed out."""
        now, row, new_id = self.now, self.row(request.origin), request.session.id
        changed = {k: v for k, v in request.written.items() if request.was.get(k, ...) != v}
        if request.origin is None:
            if request.login is None and not request.written:
                return False
            assert new_id is not None
            self.rows[new_id] = Row(request.login, dict(request.written), now, now + LIFETIME)
            return True
        if request.login is not None or request.rotate:
            assert new_id is not None
            if row is None:
                if request.login is None:
                    return False
                self.rows[new_id] = Row(request.login, changed, now, now + LIFETIME)
                return True
            kept = {k: v for k, v in row.data.items() if k not in request.removed}
            ends = now + LIFETIME if request.login is not None else row.ends
            self.rows[new_id] = Row(request.login or row.user, {**kept, **changed}, now, ends)
            self.kill(request.origin)
            return True
        if row is not None:
            if changed or request.removed:
                row.data = {**{k: v for k, v in row.data.items() if k not in request.removed}, **changed}
                row.seen = now
            elif request.idle >= EVERY and now - row.seen >= EVERY:
                row.seen = now
        return False

    @rule(user=st.sampled_from("78"))
    def log_out_everywhere(self, user: str) -> None:
        mine = [key for key, row in self.rows.items() if row.user == user]
        living = sum(self.rows[key].alive(self.now) for key in mine)
        assert self.runner.run(self.accounts.end_all(user)) == living
        for key in mine:
            self.kill(key)

    @rule(seconds=st.sampled_from([45, 70, 3500, 3500, 3700]))
    def wait(self, seconds: int) -> None:
        self.runner.run(asyncio.sleep(seconds))

    @rule()
    def purge(self) -> None:
        self.runner.run(self.accounts.purge())

    @invariant()
    def what_was_ended_stays_ended(self) -> None:
        for cookie in list(self.ended.values())[-5:]:
            assert self.runner.run(self.accounts.open([cookie])).id is None

    @invariant()
    def what_lives_is_exactly_this(self) -> None:
        for session_id, row in self.rows.items():
            cookie = self.accounts.cookie.write(session_id, max_age=1).split(";")[0].encode()
            found = self.runner.run(self.accounts.open([cookie]))
            if row.alive(self.now):
                assert (found.id, found.owner, dict(found)) == (session_id, row.user, row.data)
            else:
                assert found.id is None


TestSessions = SessionMachine.TestCase
TestSessions.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
