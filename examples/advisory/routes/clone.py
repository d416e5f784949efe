"""A clone of an expert from public sources: ask for it, read and correct the draft, accept it or throw it away."""

from __future__ import annotations

from uuid import UUID, uuid4

from fastapi import APIRouter, HTTPException, Request, Response

from advisory.pages.forms import Form, read_form
from advisory.pages.limits import AUTO_CLONE, spending
from advisory.pages.person import person_fields
from advisory.pages.visitor import redirect, session_of, signed_in
from advisory.research.model import Research
from advisory.research.plan import Draft, read_draft
from advisory.routes.experts import LABELS
from advisory.routes.research import own, unavailable
from advisory.services import services

__all__ = ["open_draft", "router"]

router = APIRouter()


@router.get("/especialistas/clonar")
async def form_page(request: Request) -> Response:
    await signed_in(request)
    return services(request).pages.page(request, "clone.html", form=Form(), form_key=uuid4())


@router.post("/especialistas/clonar")
async def begin(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    form = await read_form(request)
    subject = form.text("name", "Nome", least=3, most=60)
    context = form.text("context", "Pelo que é conhecida", least=3, most=120)
    if problem := unavailable(app):
        form.errors["name"] = f"{problem} Você pode criar o especialista à mão."
    if form.errors:
        key = form.key() or uuid4()
        return app.pages.page(request, "clone.html", status=422, form=form, form_key=key)
    async with spending(request, AUTO_CLONE, user.id) as use:
        research_id, made = await app.researches.begin(
            user.id, "clone", subject=subject, context=context, form_key=form.key()
        )
        if not made:
            use.give_back()
    return redirect(f"/pesquisas/{research_id}")


@router.get("/clones/{research_id}")
async def review(request: Request, research_id: UUID) -> Response:
    research, draft = await open_draft(request, research_id)
    form = Form(
        values={"name": research.subject, "role": draft.role, "goals": draft.goals, "style": draft.style}
    )
    return services(request).pages.page(
        request, "clone_review.html", form=form, research=research, summary=draft.summary
    )


@router.post("/clones/{research_id}/guardar")
async def save(request: Request, research_id: UUID) -> Response:
    app, user = services(request), await signed_in(request)
    research, draft = await open_draft(request, research_id)
    form = await read_form(request)
    fields = person_fields(form, LABELS)
    if form.errors:
        return _with_errors(request, form, research, draft)
    changed = Draft(role=fields["role"], goals=fields["goals"], style=fields["style"], summary=draft.summary)
    await app.researches.save_draft(user.id, research_id, changed, subject=fields["name"])
    session_of(request)["notice"] = "Correções guardadas. O rascunho continua esperando a sua decisão."
    return redirect(f"/clones/{research_id}")


@router.post("/clones/{research_id}/aceitar")
async def accept(request: Request, research_id: UUID) -> Response:
    app, user = services(request), await signed_in(request)
    research, draft = await open_draft(request, research_id)
    form = await read_form(request)
    fields = person_fields(form, LABELS)
    if form.errors:
        return _with_errors(request, form, research, draft)
    if await app.researches.accept(user.id, research_id, fields) is not None:
        session_of(request)["notice"] = (
            f"{fields['name']} agora faz parte dos seus especialistas, como simulação baseada em fontes públicas."
        )
    return redirect("/especialistas")


@router.post("/clones/{research_id}/descartar")
async def discard(request: Request, research_id: UUID) -> Response:
    app, user = services(request), await signed_in(request)
    await open_draft(request, research_id)
    await app.researches.delete(user.id, research_id)
    session_of(request)["notice"] = "Rascunho descartado, com tudo o que as fontes trouxeram."
    return redirect("/especialistas")


def _with_errors(request: Request, form: Form, research: Research, draft: Draft) -> Response:
    return services(request).pages.page(
        request, "clone_review.html", status=422, form=form, research=research, summary=draft.summary
    )


async def open_draft(request: Request, research_id: UUID) -> tuple[Research, Draft]:
    """The visitor's clone and its draft, as long as it waits for a decision; else 404."""
    research = await own(request, research_id)
    if (
        research.kind != "clone"
        or research.accepted_at is not None
        or not research.finished
        or research.step("profile").status != "done"
    ):
        raise HTTPException(404)
    return research, read_draft(research.step("profile").text)
