"""Past councils, and the bin."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from advisory.pages.visitor import signed_in
from advisory.services import services

__all__ = ["router"]

router = APIRouter()


@router.get("/historico")
async def history(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    words = request.query_params.get("busca", "").strip()[:200]
    runs = await app.runs.history(user.id, words=words)
    return app.pages.page(request, "history.html", runs=runs, deleted=False, words=words)


@router.get("/lixeira")
async def bin_page(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    runs = await app.runs.history(user.id, deleted=True)
    return app.pages.page(request, "history.html", runs=runs, deleted=True, words="")
