"""The app: services, middleware in their order, routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from loguru import logger
from starlette.staticfiles import StaticFiles

import prodkit as pk
from advisory.pages.errors import handlers, problem_page
from advisory.pages.head import Head
from advisory.pages.kept import CarryQuestion, KeepQuestion
from advisory.pages.visitor import is_operator
from advisory.routes import (
    account,
    accounts,
    chat,
    chat_stream,
    clone,
    council,
    experts,
    faults,
    health,
    history,
    home,
    personas,
    recovery,
    research,
    share,
    stream,
    trial,
    version,
)
from advisory.services import Services
from advisory.worker.warm import imported
from prodkit import web
from prodkit.sessions import CsrfTokens

__all__ = ["create_app"]

MAX_BODY: Final = 6 * 2**20
"""No body larger than a photo and its form."""
_STATIC: Final = Path(__file__).parent / "static"


def create_app(services: Services) -> FastAPI:
    """The ASGI app around `services`, which it starts and closes."""
    app = FastAPI(title="O Conselho", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan)
    problems = web.Problems(html=problem_page, language="pt-BR", runtime=services.runtime)
    app.add_middleware(
        web.CsrfMiddleware,
        tokens=CsrfTokens(services.sessions.csrf_keys),
        secure=services.sessions.cookie.secure,
        problems=problems,
    )
    app.add_middleware(KeepQuestion)  # between the session and the CSRF check, so both are placed by hand
    web.install(
        app,
        drain=services.drain,
        max_body=MAX_BODY,
        sessions=services.sessions,
        csrf=False,
        skip=("/static/", "/healthz", "/api/health", "/version"),
        deadline=8.0,
        problems=problems,
        log_context=lambda request_id: logger.contextualize(request_id=request_id),
    )
    app.add_middleware(CarryQuestion)
    app.add_middleware(Head)
    for kind, handler in handlers(problems).items():
        app.add_exception_handler(kind, handler)
    app.state.services = services
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.router.routes.extend(
        web.health_routes(services.health, drain=services.drain, token=services.settings.operator_token)
    )
    if services.demo is not None and services.demo.theatre is not None:
        services.demo.theatre.console = console = web.Console(
            services.runtime, services.health, allow=is_operator, embed=True
        )
        app.router.routes.extend(console.routes())
    for subject in (
        faults,
        health,
        version,
        account,
        accounts,
        recovery,
        home,
        clone,
        experts,
        personas,
        research,
        trial,
        stream,
        council,
        chat_stream,
        chat,
        share,
        history,
    ):
        app.include_router(subject.router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    # Not started here: the SDK takes seconds to load, which the worker does in the background.
    claude = aclosing(services.claude)
    parts: list[Any] = [
        services.redis,
        services.breakers,
        services.sources,
        services.db,
        services.answers,
        claude,
        aclosing(services.avatars),
    ]
    if services.settings.worker:
        parts.append(services.worker)
    if services.demo is not None and services.demo.theatre is not None:
        parts.append(services.demo.theatre)
    parts.append(services.fleet)  # reports once everything else is up
    async with pk.running(*parts):
        warm = [services.avatars.start()]
        if services.settings.worker:
            warm.append(imported("anthropic"))  # or the first answer would wait for it
        warming = asyncio.gather(*warm)
        try:
            with services.drain.on_signals():
                yield
        finally:
            warming.cancel()
            await asyncio.gather(warming, return_exceptions=True)
            services.passwords.close()
