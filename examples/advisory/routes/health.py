"""How the service is: for machines, for people, and for whoever restarts it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from advisory.services import services

__all__ = ["router"]

router = APIRouter()


@router.get("/healthz")
async def liveness() -> Response:
    """The process answers. It asks no dependency: a restart would not mend them."""
    return PlainTextResponse("ok", headers={"Cache-Control": "no-store"})


@router.get("/api/health")
async def health(request: Request) -> Response:
    """Statuses for everybody: 200 while the service can do its work, perhaps with less, else 503."""
    report = await services(request).health.report()
    return JSONResponse(report.public(), 200 if report.ok else 503, {"Cache-Control": "no-store"})


@router.get("/saude")
async def page(request: Request) -> Response:
    app = services(request)
    report = await app.health.report()
    return app.pages.page(request, "health.html", report=report)
