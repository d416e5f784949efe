"""``Idempotency-Key``: a POST that is sent again, after a timeout or a double click, has its effect once."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Iterable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.core.deadline import Deadline
from prodkit.core.validate import Arguments
from prodkit.sessions import Session
from prodkit.sessions.idempotency import IdempotencyStore, StoredAnswer
from prodkit.web.asgi import header, matches, path_of, prefixes
from prodkit.web.errors import Problems
from prodkit.web.problem import ConflictError

__all__ = ["Idempotency", "IdempotencyMiddleware"]

_KEY: Final = re.compile(r'"?[\x21\x23-\x7e]{1,255}"?\Z')
_DROPPED: Final = frozenset(("set-cookie", "date", "server", "x-request-id", "connection", "content-length"))


class Idempotency:
    """Settings of the ``Idempotency-Key`` rule.

    The key belongs to the signed-in user, else to the ``Authorization`` header or the visitor's address.

    Args:
        store: a PostgresIdempotency, or a MemoryIdempotency for one process.
        ttl: seconds for which the first answer is kept.
        lease: seconds after which an unfinished request counts as crashed and its key is free again; longer than
            your slowest handler.
        methods: methods it applies to.
        only: path prefixes it applies to; all by default.
        max_bytes: larger bodies and answers are not covered: the request is answered, the key stays free.
    """

    def __init__(
        self,
        store: IdempotencyStore,
        *,
        ttl: float = 86_400.0,
        lease: float = 60.0,
        methods: Iterable[str] = ("POST", "PATCH"),
        only: Iterable[str] = (),
        max_bytes: int = 1_048_576,
    ) -> None:
        check = Arguments("Idempotency")
        check.seconds("ttl", ttl)
        check.seconds("lease", lease)
        check.integer("max_bytes", max_bytes, minimum=1)
        check.done()
        self.store: IdempotencyStore = store
        self.ttl: float = ttl
        self.lease: float = lease
        self.methods: frozenset[str] = frozenset(methods)
        self.only: tuple[str, ...] = prefixes(only, "only")
        self.max_bytes: int = max_bytes


class IdempotencyMiddleware:
    """Answer a repeated request with the first answer, 409 while it runs, and 422 for a key of another request.

    Answers of 5xx, a handler that raises and a cancelled request free the key. Belongs innermost.

    Args:
        app: the ASGI app.
        idempotency: the settings.
        problems: turns refusals into responses.
    """

    def __init__(self, app: ASGIApp, *, idempotency: Idempotency, problems: Problems | None = None) -> None:
        self.app = app
        self._rule = idempotency
        self._problems = problems or Problems()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rule = self._rule
        given = header(scope, b"idempotency-key") if scope["type"] == "http" else ""
        if not given or scope["method"] not in rule.methods or (rule.only and not matches(scope, rule.only)):
            await self.app(scope, receive, send)
            return
        if not _KEY.match(given):
            raise HTTPException(400, "Idempotency-Key must be 1 to 255 visible characters")
        body, receive = await _body(receive, rule.max_bytes)
        if body is None:
            await self.app(scope, receive, send)
            return
        key = _digest(_owner(scope), given.strip('"'))  # the draft wants quotes, most clients send none
        request = _digest(scope["method"], path_of(scope), scope.get("query_string", b""), body)
        token = secrets.token_bytes(16)
        claim = await rule.store.claim(key, request, token, lease=rule.lease, ttl=rule.ttl)
        if claim.state == "running":
            raise ConflictError("a request with this Idempotency-Key is being processed", retry_after=1.0)
        if claim.state == "other":
            raise HTTPException(422, "this Idempotency-Key was used for another request")
        if claim.answer is not None:
            await _send(send, claim.answer)
            return
        await self._run(scope, receive, send, key, token)

    async def _run(self, scope: Scope, receive: Receive, send: Send, key: bytes, token: bytes) -> None:
        kept = _Recorder(send, self._rule.max_bytes)
        try:
            await self.app(scope, receive, kept)
        finally:
            answer = kept.answer()
            with Deadline.detached():  # also when the deadline has passed or the client is gone
                settle = (
                    self._rule.store.free(key, token)
                    if answer is None or answer.status >= 500
                    else self._rule.store.finish(key, token, answer)
                )
                await asyncio.shield(asyncio.ensure_future(settle))
        await kept.release()


class _Recorder:
    """Passes a response on and keeps a copy. The last part is held back until the store has the answer."""

    def __init__(self, send: Send, max_bytes: int) -> None:
        self._send = send
        self._max = max_bytes
        self._status = 0
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()
        self._last: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [
                (name.decode("latin-1").lower(), value.decode("latin-1"))
                for name, value in message.get("headers", ())
            ]
        elif message["type"] == "http.response.body":
            if len(self._body) <= self._max:
                self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._last = message
                return
        await self._send(message)

    def answer(self) -> StoredAnswer | None:
        if self._last is None or len(self._body) > self._max:
            return None
        headers = tuple(pair for pair in self._headers if pair[0] not in _DROPPED)
        return StoredAnswer(self._status, headers, bytes(self._body))

    async def release(self) -> None:
        if self._last is not None:
            await self._send(self._last)


async def _send(send: Send, answer: StoredAnswer) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    headers += [(b"content-length", str(len(answer.body)).encode()), (b"idempotent-replayed", b"true")]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _body(receive: Receive, max_bytes: int) -> tuple[bytes | None, Receive]:
    """Return the body and a ``receive`` that yields it once more; None for one that is too large or broken off."""
    seen: list[Message] = []
    size, more = 0, True
    while more and size <= max_bytes:
        message = await receive()
        seen.append(message)
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
        if message["type"] != "http.request":
            size = max_bytes + 1
    waiting = list(reversed(seen))

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    whole = b"".join(message.get("body", b"") for message in seen)
    return (whole if size <= max_bytes else None), again


def _owner(scope: Scope) -> str:
    session = scope.get("session")
    if isinstance(session, Session) and session.owner is not None:
        return f"user:{session.owner}"
    authorization = header(scope, b"authorization")
    if authorization:
        return f"auth:{authorization}"
    client = scope.get("client")
    return f"peer:{client[0] if client else ''}"


def _digest(*parts: str | bytes) -> bytes:
    found = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        found.update(len(raw).to_bytes(8, "big") + raw)
    return found.digest()
