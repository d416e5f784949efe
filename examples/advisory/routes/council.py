"""Put a question to the council, look at it, stop it, take it up again, take it home."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response

from advisory.council.export import as_markdown, export_name
from advisory.council.model import Run
from advisory.council.plan import MAX_EXPERTS, MAX_QUESTION, MIN_QUESTION, RESUMABLE
from advisory.council.texts import standing
from advisory.pages.forms import read_form
from advisory.pages.limits import COUNCIL, ready, take
from advisory.pages.visitor import redirect, session_of, signed_in
from advisory.routes.home import ask_page
from advisory.services import services

__all__ = ["router"]

router = APIRouter(prefix="/conselhos")


@router.post("")
async def ask(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    form = await read_form(request)
    question = form.text("question", "Sua pergunta", least=MIN_QUESTION, most=MAX_QUESTION)
    chosen = {
        int(each)
        for each in form.lists.get("experts", [])
        if each.isascii() and each.isdigit() and len(each) < 19
    }
    experts = await app.experts.some(user.id, sorted(chosen))
    if not experts:
        form.errors["experts"] = "Escolha pelo menos um especialista."
    elif len(experts) > MAX_EXPERTS:
        form.errors["experts"] = f"Escolha no máximo {MAX_EXPERTS} especialistas; você marcou {len(experts)}."
    if form.errors:
        return await ask_page(request, app, user, form, chosen=chosen)
    form_key = form.key()
    if form_key is not None and (first := await app.runs.sent(user.id, form_key)) is not None:
        return redirect(f"/conselhos/{first}")
    await ready(request)
    decision = await take(request, (COUNCIL, str(user.id)))
    persona = await app.personas.chosen(user.id, form.values.get("persona", ""))
    run_id, made = await app.runs.ask(user.id, question, experts, form_key=form_key, persona=persona)
    if not made:  # the same form, sent twice at once
        await app.limiter.refund(decision)
    return redirect(f"/conselhos/{run_id}")


@router.get("/{run_id}")
async def look(request: Request, run_id: UUID) -> Response:
    run = await _own(request, run_id)
    return services(request).pages.page(request, "council.html", run=run, banner=standing(run))


@router.post("/{run_id}/parar")
async def stop(request: Request, run_id: UUID) -> Response:
    """Stopping what has just finished is no error: the page shows how it ended."""
    app, user = services(request), await signed_in(request)
    if not await app.runs.stop(user.id, run_id):
        await _own(request, run_id)
    return redirect(f"/conselhos/{run_id}")


@router.post("/{run_id}/retomar")
async def resume(request: Request, run_id: UUID) -> Response:
    app, user = services(request), await signed_in(request)
    run = await _own(request, run_id)
    if run.status not in RESUMABLE:  # nothing to do again, so nothing is spent
        return redirect(f"/conselhos/{run_id}")
    await ready(request)
    await take(request, (COUNCIL, str(user.id)))
    keep = (await read_form(request)).values.get("continuar") == "1"
    await app.runs.resume(user.id, run_id, keep_synthesis=keep)
    return redirect(f"/conselhos/{run_id}")


@router.post("/{run_id}/apagar")
async def delete(request: Request, run_id: UUID) -> Response:
    app, user = services(request), await signed_in(request)
    if not await app.runs.delete(user.id, run_id):
        raise HTTPException(404)
    session_of(request)["notice"] = "Conselho apagado. Ele fica na lixeira por 90 dias."
    return redirect("/historico")


@router.post("/{run_id}/restaurar")
async def restore(request: Request, run_id: UUID) -> Response:
    app, user = services(request), await signed_in(request)
    if not await app.runs.restore(user.id, run_id):
        raise HTTPException(404)
    session_of(request)["notice"] = "Conselho restaurado."
    return redirect(f"/conselhos/{run_id}")


@router.get("/{run_id}/exportar")
async def export(request: Request, run_id: UUID) -> Response:
    run = await _own(request, run_id)
    return Response(
        as_markdown(run),
        media_type="text/markdown; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{export_name(run)}"',
            "Cache-Control": "no-store",
        },
    )


async def _own(request: Request, run_id: UUID) -> Run:
    user = await signed_in(request)
    run = await services(request).runs.get(user.id, run_id)
    if run is None:
        raise HTTPException(404)
    return run
