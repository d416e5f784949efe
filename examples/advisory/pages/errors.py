"""Errors become pages in Portuguese for people, and problem documents for programs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.types import Scope

from advisory.pages.filters import clock
from advisory.pages.kept import BACK, carried
from advisory.pages.limits import PausedError, TooManyError
from advisory.pages.messages import for_status
from advisory.pages.visitor import SignInNeeded, redirect, sign_in_path
from advisory.services import services
from prodkit import ratelimit, web
from prodkit.ratelimit.messages import duration

__all__ = ["handlers", "problem_page"]


def problem_page(problem: web.Problem, scope: Scope) -> str:
    """The HTML of an error that the kit answers: CSRF, 404, a database that is away."""
    title, text = for_status(problem.status)
    if problem.retry_after is not None:
        text = f"{text} Tente novamente em {duration(problem.retry_after, 'pt-BR')}."
    return _page(Request(scope), problem.status, title, text)


def _page(request: Request, status: int, title: str, text: str) -> str:
    kept = None if status == 404 else carried(request.scope)
    return services(request).pages.html(
        request, "error.html", status=status, title=title, text=text, kept=kept, back=BACK
    )


async def _too_many(request: Request, error: Exception) -> Response:
    assert isinstance(error, TooManyError)
    decision = error.decision
    status, headers = ratelimit.status(decision), ratelimit.headers(decision)
    headers["Cache-Control"] = "no-store"
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse(
            ratelimit.problem(decision, "pt-BR"), status, headers, media_type="application/problem+json"
        )
    text = ratelimit.message(decision, "pt-BR")
    return Response(
        _page(request, status, for_status(status)[0], text), status, headers, media_type="text/html"
    )


async def _paused(request: Request, error: Exception) -> Response:
    """503 with the moment of the next try; the page shows the question again."""
    assert isinstance(error, PausedError)
    wait = math.ceil(error.retry_after)
    title, _ = for_status(503)
    text = (
        f"O serviço de IA está em pausa depois de várias falhas seguidas. Nova tentativa às {clock(wait)}, em"
        f" {duration(wait, 'pt-BR')}. Nada foi descontado do seu limite."
    )
    headers = {"Retry-After": str(wait), "Cache-Control": "no-store"}
    return Response(_page(request, 503, title, text), 503, headers, media_type="text/html")


async def _sign_in_first(request: Request, error: Exception) -> Response:
    if "text/html" in request.headers.get("accept", "*/*") or request.method != "GET":
        return redirect(sign_in_path(request))
    return JSONResponse(
        {"title": "Entre primeiro", "status": 401, "detail": "Esta página pede que você entre na sua conta."},
        401,
        media_type="application/problem+json",
    )


def handlers(problems: web.Problems) -> dict[Any, Callable[[Request, Any], Any]]:
    """For ``FastAPI(exception_handlers=…)``. An id in a path that is no id is a page that does not exist."""

    async def no_such_page(request: Request, error: Exception) -> Response:
        title, text = for_status(404)
        found = web.Problem(404, "not_found", title, text)
        return await problems.response(found, request.scope)

    return {
        TooManyError: _too_many,
        PausedError: _paused,
        SignInNeeded: _sign_in_first,
        RequestValidationError: no_such_page,
    }
