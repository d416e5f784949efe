"""Share a council by a link that only reads, and end such a link."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response

from advisory.pages.forms import read_form
from advisory.pages.visitor import redirect, session_of, signed_in
from advisory.routes.council import council_page
from advisory.services import services
from advisory.store.share import MAX_SHARES, SHARE_DAYS

__all__ = ["router"]

router = APIRouter()


@router.post("/conselhos/{run_id}/compartilhar")
async def share(request: Request, run_id: UUID) -> Response:
    """The link is in this answer and nowhere else: only the hash of its token is kept."""
    app, user = services(request), await signed_in(request)
    days = (await read_form(request)).values.get("dias", "")
    chosen = int(days) if days in map(str, SHARE_DAYS) else SHARE_DAYS[1]
    token = await app.shares.add(user.id, run_id, days=chosen)
    if token is None:
        if await app.runs.get(user.id, run_id) is None:
            raise HTTPException(404)
        session_of(request)["notice"] = (
            f"Um conselho terminado pode ter até {MAX_SHARES} links ao mesmo tempo. Encerre um deles antes."
        )
        return redirect(f"/conselhos/{run_id}")
    return await council_page(request, run_id, link=str(request.url_for("shared", token=token)))


@router.post("/conselhos/{run_id}/compartilhar/{share_id}/encerrar")
async def revoke(request: Request, run_id: UUID, share_id: UUID) -> Response:
    app, user = services(request), await signed_in(request)
    if not await app.shares.revoke(user.id, run_id, share_id):
        raise HTTPException(404)
    session_of(request)["notice"] = "Link encerrado. Quem o tem não abre mais o conselho."
    return redirect(f"/conselhos/{run_id}")


@router.get("/c/{token}", name="shared")
async def shared(request: Request, token: str) -> Response:
    """Question, synthesis, table and opinions for every holder of the link; nothing of the owner, no button."""
    app = services(request)
    found = await app.shares.open(token) if len(token) < 100 else None
    run = None if found is None else await app.runs.get(*found)
    if run is None or not run.finished:
        raise HTTPException(404)
    answer = app.pages.page(request, "shared.html", run=run, read_only=True)
    answer.headers["X-Robots-Tag"] = "noindex, nofollow, noarchive"
    answer.headers["Referrer-Policy"] = "same-origin"  # the address is the key
    return answer
