"""Errors as pages: ``application/problem+json`` for programs, your own HTML for people.

In an app: ``ErrorMiddleware`` outside sessions and limits, inside the security headers, so that every error has
those too; ``Problems.handlers()`` for what Starlette itself answers (404, 405). ``web.install`` does both.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.core.events import Event, Metric
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import ProdkitError
from prodkit.ratelimit.messages import Language
from prodkit.web.asgi import header
from prodkit.web.problem import LANGUAGES, Problem, language_of, of_error, of_status

__all__ = ["ErrorMiddleware", "Page", "Problems", "RequestFailed"]

Page: TypeAlias = Callable[[Problem, Scope], str | Awaitable[str]]
"""Makes the HTML of a problem, say with the app's templates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed(Event):
    """A request was answered with an error page. `error` is the name of the exception's class."""

    name = "web.failed"
    level = "WARNING"
    metric = Metric(
        "request_failures",
        labels=("status", "code"),
        help="Requests answered with an error of the kit or an unexpected one.",
    )
    status: int
    code: str
    error: str


class Problems:
    """Turns errors into responses.

    `html` makes the page for browsers (requests that accept ``text/html``); without it, and when it fails,
    everybody gets JSON. `language` is used where Accept-Language names neither ``pt-BR`` nor ``en``.
    """

    def __init__(
        self, *, language: Language = "en", html: Page | None = None, runtime: Runtime = SYSTEM
    ) -> None:
        if language not in LANGUAGES:
            raise ValueError(f"language is one of {LANGUAGES}, got {language!r}")
        self.language: Language = language
        self._html = html
        self._runtime = runtime

    async def error(self, error: Exception, scope: Scope) -> Response:
        """The response to an exception."""
        problem = of_error(error, self._language(scope))
        if self._runtime.events.listened(RequestFailed):
            self._runtime.events.emit(
                RequestFailed(status=problem.status, code=problem.code, error=type(error).__name__)
            )
        return await self.response(problem, scope)

    async def response(
        self, problem: Problem, scope: Scope, headers: Mapping[str, str] | None = None
    ) -> Response:
        """The response to a problem, as HTML or JSON, with ``Retry-After`` where the wait is known."""
        found = {
            "cache-control": "no-store",
            "vary": "Accept, Accept-Language",
            **problem.headers,
            **(headers or {}),
        }
        found["content-language"] = self._language(scope)
        if problem.retry_after is not None:
            found["retry-after"] = str(problem.retry_after)
        if self._html is not None and "text/html" in header(scope, b"accept"):
            try:
                page = self._html(problem, scope)
                text = await page if inspect.isawaitable(page) else page
                return Response(text, problem.status, found, media_type="text/html")
            except Exception:  # noqa: BLE001 - the error page must not be the next error
                found["x-error-page"] = "failed"
        body = json.dumps(problem.body(scope.get("state", {}).get("request_id")), ensure_ascii=False)
        return Response(body, problem.status, found, media_type="application/problem+json")

    def handlers(self) -> dict[Any, Any]:
        """For ``Starlette(exception_handlers=…)`` and ``FastAPI(exception_handlers=…)``."""

        async def http(request: Request, error: Exception) -> Response:
            assert isinstance(error, HTTPException)
            if error.status_code in (204, 304):
                return Response(status_code=error.status_code, headers=error.headers)
            told = "" if _standard(error) else str(error.detail)
            problem = of_status(error.status_code, self._language(request.scope), detail=told)
            kept = {name.lower(): value for name, value in (error.headers or {}).items()}
            return await self.response(problem, request.scope, kept)

        return {HTTPException: http}

    def _language(self, scope: Scope) -> Language:
        return language_of(header(scope, b"accept-language"), self.language)


class ErrorMiddleware:
    """Answers whatever the app raises.

    prodkit's errors become their status (503 with ``Retry-After`` for a database that is away, 429, 403…) and are
    told as ``web.failed``. Anything else becomes a bare 500 and is raised again, so that the server logs it.
    """

    def __init__(self, app: ASGIApp, *, problems: Problems | None = None) -> None:
        self.app = app
        self._problems = problems or Problems()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            return
        except Exception as error:
            if not started:
                response = await self._problems.error(error, scope)
                await response(scope, receive, send)
            if started or not isinstance(error, ProdkitError):
                raise


def _standard(error: HTTPException) -> bool:
    from http import HTTPStatus

    try:
        return error.detail == HTTPStatus(error.status_code).phrase
    except ValueError:
        return False
