"""Personas: list, create with a photo, look at, edit, remove."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias
from uuid import uuid4

from fastapi import APIRouter, HTTPException, Path, Request, Response

from advisory.pages.avatars import read_with_photo
from advisory.pages.forms import Form
from advisory.pages.person import person_fields, values_of
from advisory.pages.visitor import redirect, session_of, signed_in
from advisory.services import services

__all__ = ["PersonaId", "router"]

router = APIRouter(prefix="/personas")
PersonaId: TypeAlias = Annotated[int, Path(ge=1, le=2**63 - 1)]
MAX_PROFILE: Final = 6000
LABELS: Final = {
    "name": "Nome",
    "role": "Quem é",
    "goals": "O que quer alcançar",
    "style": "Como decide e fala",
}


@router.get("")
async def listing(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    return app.pages.page(request, "personas.html", personas=await app.personas.of(user.id))


@router.get("/nova")
async def new(request: Request) -> Response:
    await signed_in(request)
    return services(request).pages.page(request, "persona_edit.html", form=Form(), persona=None)


@router.post("")
async def create(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    form, avatar = await read_with_photo(request, user)
    values = person_fields(form, LABELS)
    if form.errors:
        return app.pages.page(request, "persona_edit.html", status=422, form=form, persona=None)
    added = await app.personas.add(owner_id=user.id, avatar=avatar, **values)
    session_of(request)["notice"] = f"{values['name']} foi criada. Você já pode perguntar sobre ela."
    return redirect(f"/personas/{added}")


@router.get("/{persona_id}")
async def look(request: Request, persona_id: PersonaId) -> Response:
    app, user = services(request), await signed_in(request)
    found = await app.personas.get(user.id, persona_id)
    if found is None:
        raise HTTPException(404)
    return app.pages.page(
        request,
        "persona.html",
        persona=found,
        research=await app.researches.latest(user.id, found.id),
        form_key=uuid4(),
    )


@router.get("/{persona_id}/editar")
async def edit_page(request: Request, persona_id: PersonaId) -> Response:
    app, user = services(request), await signed_in(request)
    found = await app.personas.get(user.id, persona_id)
    if found is None:
        raise HTTPException(404)
    form = Form(values={**values_of(found), "profile": found.profile})
    return app.pages.page(request, "persona_edit.html", form=form, persona=found)


@router.post("/{persona_id}/editar")
async def edit(request: Request, persona_id: PersonaId) -> Response:
    app, user = services(request), await signed_in(request)
    found = await app.personas.get(user.id, persona_id)
    if found is None:
        raise HTTPException(404)
    form, avatar = await read_with_photo(request, user)
    values = person_fields(form, LABELS)
    profile = found.profile
    if "profile" in form.values:
        profile = form.text("profile", "Perfil", least=0, most=MAX_PROFILE)
    if form.errors:
        return app.pages.page(request, "persona_edit.html", status=422, form=form, persona=found)
    if not await app.personas.edit(user.id, persona_id, avatar=avatar, profile=profile, **values):
        raise HTTPException(404)
    session_of(request)["notice"] = f"{values['name']} foi atualizada."
    return redirect(f"/personas/{persona_id}")


@router.post("/{persona_id}/remover")
async def remove(request: Request, persona_id: PersonaId) -> Response:
    app, user = services(request), await signed_in(request)
    if not await app.personas.remove(user.id, persona_id):
        raise HTTPException(404)
    session_of(request)["notice"] = (
        "Persona removida. Os conselhos que perguntaram sobre ela continuam no histórico."
    )
    session_of(request)["undo"] = f"/personas/{persona_id}/restaurar"
    return redirect("/personas")


@router.post("/{persona_id}/restaurar")
async def restore(request: Request, persona_id: PersonaId) -> Response:
    app, user = services(request), await signed_in(request)
    if not await app.personas.restore(user.id, persona_id):
        raise HTTPException(404)
    session_of(request)["notice"] = "Persona restaurada."
    return redirect(f"/personas/{persona_id}")
