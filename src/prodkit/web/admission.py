"""Admission at the door: overload is answered before sessions and SQL, the least important requests first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from prodkit.core.check import CheckResult
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import BulkheadFullError
from prodkit.policies import AdaptiveLimit
from prodkit.policies.deadline_guard import bounded
from prodkit.sessions import Sessions
from prodkit.web.asgi import header, headers, matches, prefixes

__all__ = ["Admission", "AdmissionMiddleware"]

SIGNED_IN, ANONYMOUS = 10, 0


class Admission:
    """The number of requests that run at once, learned from their latency, and the queue before it.

    Above the limit requests wait in a bounded queue; a visitor with a validly signed session cookie is served first
    and displaces an anonymous one from a full queue. The others get 503 with ``Retry-After`` at once, which is what
    keeps the latency of the admitted ones low. The cookie's signature is checked without the store.

    Args:
        initial: the limit at the beginning.
        min_limit: never fewer requests than that.
        max_limit: never more requests than that.
        max_queue: requests that may wait.
        queue_timeout: seconds that a request may wait.
        retry_after: seconds named to the refused.
        priority: priority of a request by its scope, 0 for the least important; by default 10 for a signed cookie.
        name: in events and in the health report.
        runtime: clock and events.
    """

    def __init__(
        self,
        *,
        initial: int = 20,
        min_limit: int = 4,
        max_limit: int = 500,
        max_queue: int = 100,
        queue_timeout: float = 1.0,
        retry_after: float = 2.0,
        priority: Callable[[Scope], int] | None = None,
        name: str = "admission",
        runtime: Runtime = SYSTEM,
    ) -> None:
        self.name: str = name
        self.retry_after: float = retry_after
        self.priority: Callable[[Scope], int] | None = priority
        self.limit: AdaptiveLimit = AdaptiveLimit(
            name=name,
            initial=initial,
            min_limit=min_limit,
            max_limit=max_limit,
            max_queue=max_queue,
            queue_timeout=queue_timeout,
            priority=self._rank,
            runtime=runtime,
        )

    def _rank(self, scope: Scope, *_: Any) -> int:
        rank: int = scope["prodkit.rank"](scope) if "prodkit.rank" in scope else 0
        return rank

    async def check(self) -> CheckResult:
        """Report limit and queue: ``degraded`` while requests wait."""
        limit = self.limit
        details = {"limit": limit.limit, "in_flight": limit.inflight, "queued": limit.waiting}
        if limit.waiting:
            return CheckResult("degraded", f"{limit.waiting} requests wait", details)
        return CheckResult("up", "", details)

    def __repr__(self) -> str:
        return f"Admission({self.limit!r})"


class AdmissionMiddleware:
    """Let requests in as :class:`Admission` allows. Belongs outside of sessions and rate limits.

    Event streams (``Accept: text/event-stream``) and WebSockets are not counted: they last, and do not work.

    Args:
        app: the ASGI app.
        admission: the limit and its queue.
        sessions: verify the signature of the session cookie; without them all requests rank alike.
        skip: path prefixes that always get in, such as health checks.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        admission: Admission,
        sessions: Sessions | None = None,
        skip: Iterable[str] = (),
    ) -> None:
        self.app = app
        self._admission = admission
        self._sessions = sessions
        self._skip = prefixes(skip, "skip")

        def serve(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            return self.app(scope, receive, send)

        # The deadline middleware enforces the deadline, and lets go of a response that has begun.
        self._serve = admission.limit.wrap(bounded(serve))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or matches(scope, self._skip)
            or "text/event-stream" in header(scope, b"accept")
        ):
            await self.app(scope, receive, send)
            return
        scope["prodkit.rank"] = self._admission.priority or self._rank
        try:
            await self._serve(scope, receive, send)
        except BulkheadFullError as error:
            if error.bulkhead == self._admission.name:
                error.retry_after = self._admission.retry_after
            raise

    def _rank(self, scope: Scope) -> int:
        if self._sessions is None:
            return ANONYMOUS
        signed = self._sessions.cookie.read(headers(scope, b"cookie")) is not None
        return SIGNED_IN if signed else ANONYMOUS
