"""Experts: list, create with a photo, remove; and the photos."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias
from uuid import UUID

from fastapi import APIRouter, HTTPException, Path, Request, Response

from advisory.pages.avatars import read_with_photo
from advisory.pages.forms import Form
from advisory.pages.person import person_fields, values_of
from advisory.pages.visitor import redirect, session_of, signed_in
from advisory.services import services

__all__ = ["LABELS", "ExpertId", "router"]

router = APIRouter()
ExpertId: TypeAlias = Annotated[int, Path(ge=1, le=2**63 - 1)]


LABELS: Final = {
    "name": "Nome",
    "role": "Papel",
    "goals": "O que busca em cada conselho",
    "style": "Como fala",
}


@router.get("/especialistas")
async def listing(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    return app.pages.page(
        request,
        "experts.html",
        experts=await app.experts.visible_to(user.id),
        drafts=await app.researches.drafts(user.id),
    )


@router.get("/especialistas/novo")
async def new(request: Request) -> Response:
    await signed_in(request)
    return services(request).pages.page(request, "expert_new.html", form=Form())


@router.post("/especialistas")
async def create(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    form, avatar = await read_with_photo(request, user)
    values = person_fields(form, LABELS)
    if form.errors:
        return app.pages.page(request, "expert_new.html", status=422, form=form)
    await app.experts.add(owner_id=user.id, avatar=avatar, **values)
    session_of(request)["notice"] = f"{values['name']} agora faz parte dos seus especialistas."
    return redirect("/especialistas")


@router.get("/especialistas/{expert_id}/editar")
async def edit_page(request: Request, expert_id: ExpertId) -> Response:
    app, user = services(request), await signed_in(request)
    found = await app.experts.own(user.id, expert_id)
    if found is None:
        raise HTTPException(404)
    form = Form(values=values_of(found))
    return app.pages.page(request, "expert_edit.html", form=form, expert_id=expert_id)


@router.post("/especialistas/{expert_id}/editar")
async def edit(request: Request, expert_id: ExpertId) -> Response:
    app, user = services(request), await signed_in(request)
    form, avatar = await read_with_photo(request, user)
    values = person_fields(form, LABELS)
    if form.errors:
        return app.pages.page(request, "expert_edit.html", status=422, form=form, expert_id=expert_id)
    if not await app.experts.edit(user.id, expert_id, avatar=avatar, **values):
        raise HTTPException(404)
    session_of(request)["notice"] = f"{values['name']} foi atualizado."
    return redirect("/especialistas")


@router.post("/especialistas/{expert_id}/remover")
async def remove(request: Request, expert_id: ExpertId) -> Response:
    app, user = services(request), await signed_in(request)
    if not await app.experts.remove(user.id, expert_id):
        raise HTTPException(404)
    session_of(request)["notice"] = (
        "Especialista removido. Os conselhos de que participou continuam no histórico."
    )
    session_of(request)["undo"] = f"/especialistas/{expert_id}/restaurar"
    return redirect("/especialistas")


@router.post("/especialistas/{expert_id}/restaurar")
async def restore(request: Request, expert_id: ExpertId) -> Response:
    app, user = services(request), await signed_in(request)
    if not await app.experts.restore(user.id, expert_id):
        raise HTTPException(404)
    session_of(request)["notice"] = "Especialista restaurado."
    return redirect("/especialistas")


@router.get("/avatares/{avatar_id}")
async def avatar(request: Request, avatar_id: UUID) -> Response:
    """Bytes that we encoded ourselves, under a policy that lets them be nothing but a picture."""
    app, user = services(request), await signed_in(request)
    found = await app.experts.avatar(user.id, avatar_id)
    if found is None:
        raise HTTPException(404)
    tag = f'"{found.sha256}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, max-age=86400",
        "Content-Disposition": "inline",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
