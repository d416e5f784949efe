"""Past councils, and the bin."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from advisory.pages.paging import page_of
from advisory.pages.visitor import signed_in
from advisory.services import Services, services

__all__ = ["router"]

router = APIRouter()


@router.get("/historico")
async def history(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    words = request.query_params.get("busca", "").strip()[:200]
    return await _page(request, app, user.id, words=words)


@router.get("/lixeira")
async def bin_page(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    return await _page(request, app, user.id, deleted=True)


async def _page(
    request: Request, app: Services, owner_id: int, *, deleted: bool = False, words: str = ""
) -> Response:
    paging = await page_of(request, app.runs.history, owner_id=owner_id, deleted=deleted, words=words)
    return app.pages.page(request, "history.html", paging=paging, deleted=deleted, words=words)
