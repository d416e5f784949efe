"""Errors as pages: ``application/problem+json`` for programs, your own HTML for people.

In an app: ``ErrorMiddleware`` outside sessions and limits, inside the security headers, so that every error has
those too; ``Problems.handlers()`` for the errors that Starlette itself answers (404, 405). ``web.install`` does both.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, TypeAlias, cast

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.core.events import Event, Level, Metric, Metrics
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import ProdkitError
from prodkit.ratelimit.messages import Language
from prodkit.web.asgi import header, on_start
from prodkit.web.problem import LANGUAGES, Problem, language_of, of_detail, of_error
from prodkit.web.validation import of_validation

__all__ = ["ErrorMiddleware", "Page", "Problems", "RequestFailed"]

Page: TypeAlias = Callable[[Problem, Scope], str | Awaitable[str]]
"""Makes the HTML of a problem, for instance with the app's templates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed(Event):
    """A request was answered with an error page.

    Args:
        status: the HTTP status.
        code: the problem's code.
        error: the name of the exception's class.
    """

    name = "web.failed"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "request_failures",
        labels=("status", "code"),
        help="Requests answered with an error of the kit or an unexpected one.",
    )
    status: int
    code: str
    error: str


class Problems:
    """Turns errors into responses.

    Args:
        language: of the texts where Accept-Language names neither ``pt-BR`` nor ``en``.
        html: makes the page for browsers (requests that accept ``text/html``); without it, and when it fails, the
            answer is JSON.
        runtime: receives the events.
    """

    def __init__(
        self, *, language: Language = "en", html: Page | None = None, runtime: Runtime = SYSTEM
    ) -> None:
        check = Arguments("Problems")
        check.one_of("language", language, LANGUAGES)
        check.function("html", html, optional=True)
        check.done()
        self.language: Language = language
        self._html = html
        self._runtime = runtime

    async def error(self, error: Exception, scope: Scope) -> Response:
        """Return the response to `error`, for the request of `scope`."""
        if isinstance(error, HTTPException):
            return await self._http(error, scope)
        problem = of_error(error, self.language_for(scope))
        if self._runtime.events.listened(RequestFailed):
            self._runtime.events.emit(
                RequestFailed(status=problem.status, code=problem.code, error=type(error).__name__)
            )
        return await self.response(problem, scope)

    async def response(
        self, problem: Problem, scope: Scope, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Return the response to a problem, as HTML or JSON, with ``Retry-After`` where the wait is known.

        Args:
            problem: the problem.
            scope: the request's scope.
            headers: further response headers.
        """
        found = {
            "cache-control": "no-store",
            "vary": "Accept, Accept-Language",
            **problem.headers,
            **(headers or {}),
        }
        found["content-language"] = self.language_for(scope)
        if problem.retry_after is not None:
            found["retry-after"] = str(problem.retry_after)
        if self._html is not None and "text/html" in header(scope, b"accept"):
            try:
                page = self._html(problem, scope)
                text = await page if inspect.isawaitable(page) else page
                return Response(text, problem.status, found, media_type="text/html")
            except Exception:  # noqa: BLE001 - the error page must not be the next error
                found["x-error-page"] = "failed"
        document = problem.body(scope.get("state", {}).get("request_id"))
        body = json.dumps(document, ensure_ascii=False, default=str)
        return Response(body, problem.status, found, media_type="application/problem+json")

    def handlers(self) -> dict[Any, Any]:
        """Return the handlers for ``Starlette(exception_handlers=…)``."""

        async def http(request: Request, error: Exception) -> Response:
            return await self._http(cast("HTTPException", error), request.scope)

        return {HTTPException: http}

    async def invalid(self, request: Request, error: Exception) -> Response:
        """Return the response to FastAPI's ``RequestValidationError``: a handler for its ``exception_handlers``.

        Args:
            request: the request.
            error: the error; its ``errors()`` lists the faults.
        """
        faults: Any = error
        problem = of_validation(faults.errors(), self.language_for(request.scope))
        return await self.response(problem, request.scope)

    def language_for(self, scope: Scope) -> Language:
        """Return the language of the texts for the request of `scope`."""
        return language_of(header(scope, b"accept-language"), self.language)

    async def _http(self, error: HTTPException, scope: Scope) -> Response:
        if error.status_code in (204, 304):
            return Response(status_code=error.status_code, headers=error.headers)
        detail: Any = None if _standard(error) else error.detail
        problem = of_detail(error.status_code, self.language_for(scope), detail)
        kept = {name.lower(): value for name, value in (error.headers or {}).items()}
        return await self.response(problem, scope, kept)


class ErrorMiddleware:
    """Answers every exception of the app.

    prodkit's errors become their status (503 with ``Retry-After`` for a database that is away, 429, 403…) and emit
    ``web.failed``. Anything else becomes a bare 500 and is raised again, so that the server logs it; the app's own
    handler for ``Exception`` or 500 answers instead where there is one, and so does the debug page.

    Args:
        app: the ASGI app.
        problems: turns errors into responses.
    """

    def __init__(self, app: ASGIApp, *, problems: Problems | None = None) -> None:
        self.app = app
        self._problems = problems or Problems()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        def watched(message: Message) -> None:
            nonlocal started
            started = True

        send, hooks = on_start(scope, send, watched)
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            return
        except Exception as error:
            known = isinstance(error, (ProdkitError, HTTPException))
            begun = started  # `watched` also sees the answer from here
            if not begun:
                response = await (self._problems.error(error, scope) if known else self._own(error, scope))
                if response is not None:
                    await response(scope, receive, send)
            if begun or not known:
                raise
        finally:
            hooks.pop()

    async def _own(self, error: Exception, scope: Scope) -> Response | None:
        """Return the answer to an error that is none of ours; None leaves it to Starlette's debug page."""
        app = scope.get("app")
        if getattr(app, "debug", False):
            return None
        handlers = getattr(app, "exception_handlers", None) or {}
        handler = handlers.get(500) or handlers.get(Exception)
        if handler is None:
            return await self._problems.error(error, scope)
        request: Request = Request(scope)
        if inspect.iscoroutinefunction(handler):
            found = await handler(request, error)
        else:
            found = await run_in_threadpool(handler, request, error)
        return cast("Response", found)


def _standard(error: HTTPException) -> bool:
    try:
        return error.detail == HTTPStatus(error.status_code).phrase
    except ValueError:
        return False
