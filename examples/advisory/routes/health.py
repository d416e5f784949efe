"""The health page for people, and liveness. The kit's routes report health to machines."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from advisory.services import services
from prodkit.errors import ProdkitError

__all__ = ["router"]

router = APIRouter()


@router.get("/healthz")
async def liveness() -> Response:
    """The process answers. It asks no dependency: a restart would not mend them."""
    return PlainTextResponse("ok", headers={"Cache-Control": "no-store"})


@router.get("/saude")
async def page(request: Request) -> Response:
    app = services(request)
    report = await app.health.report()
    last = None
    with suppress(ProdkitError, TimeoutError):  # the page is for outages too
        async with asyncio.timeout(1.0):
            last = await app.backups.latest()
    return app.pages.page(request, "health.html", report=report, backup=last)
