"""Put a question to the council, look at it, stop it, take it up again, take it home."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, HTTPException, Path, Request, Response

from advisory.council.export import as_markdown, export_name
from advisory.council.model import Run
from advisory.council.plan import MAX_EXPERTS, MAX_QUESTION, MIN_QUESTION, RESUMABLE
from advisory.council.texts import standing
from advisory.pages.download import markdown_file
from advisory.pages.forms import read_form
from advisory.pages.limits import COUNCIL, spending
from advisory.pages.visitor import redirect, session_of, signed_in
from advisory.routes.home import ask_page
from advisory.services import services
from advisory.store.saved import saved_key

__all__ = ["council_page", "router"]

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
    reviewed = form.values.get("reviewed") == "1"
    persona = await app.personas.chosen(user.id, form.values.get("persona", ""))
    about = persona and (persona.id, persona.version)
    key = saved_key(user.id, question, experts, reviewed=reviewed, persona=about)
    if form.values.get("fresh") != "1" and (saved := await app.saved.find(user.id, key)) is not None:
        return redirect(f"/conselhos/{saved}?guardada=1")
    async with spending(request, COUNCIL, user.id, app.refunds) as use:
        run_id, made = await app.runs.ask(
            user.id, question, experts, form_key=form_key, persona=persona, reviewed=reviewed
        )
        if not made:  # the same form, sent twice at once
            use.give_back()
    await app.saved.remember(key, run_id)
    return redirect(f"/conselhos/{run_id}")


@router.get("/{run_id}")
async def look(request: Request, run_id: UUID) -> Response:
    return await council_page(request, run_id)


async def council_page(request: Request, run_id: UUID, *, link: str = "") -> Response:
    """The page of one's own council; `link` is a share link that was made by this request."""
    app, run = services(request), await _own(request, run_id)
    user = await signed_in(request)
    return app.pages.page(
        request,
        "council.html",
        run=run,
        banner=standing(run),
        link=link,
        shares=await app.shares.valid(user.id, run_id) if run.finished else [],
        saved=request.query_params.get("guardada") == "1",
        beside=request.query_params.get("vista") == "lado",
        experts=await app.runs.experts_of(user.id, str(run_id)) or (),
        form_key=uuid4(),
    )


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
    keep = (await read_form(request)).values.get("continuar") == "1"
    async with spending(request, COUNCIL, user.id, app.refunds) as use:
        if not await app.runs.resume(user.id, run_id, keep_synthesis=keep):
            use.give_back()
    return redirect(f"/conselhos/{run_id}")


@router.post("/{run_id}/cadeiras/{position}/tentar")
async def retry_seat(request: Request, run_id: UUID, position: Annotated[int, Path(ge=1, le=99)]) -> Response:
    """Ask one expert who gave no opinion, and then the chairman; the other experts are left alone."""
    app, user = services(request), await signed_in(request)
    run = await _own(request, run_id)
    seat = next((each for each in run.seats if each.position == position), None)
    if seat is None:
        raise HTTPException(404)
    if run.status in RESUMABLE and seat.status in ("failed", "stopped"):
        async with spending(request, COUNCIL, user.id, app.refunds) as use:
            if not await app.runs.resume(user.id, run_id, position=position):
                use.give_back()
    return redirect(f"/conselhos/{run_id}")


@router.post("/{run_id}/apagar")
async def delete(request: Request, run_id: UUID) -> Response:
    app, user = services(request), await signed_in(request)
    if not await app.runs.delete(user.id, run_id):
        raise HTTPException(404)
    session_of(request)["notice"] = "Conselho apagado. Ele fica na lixeira por 90 dias."
    session_of(request)["undo"] = f"/conselhos/{run_id}/restaurar"
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
    return markdown_file(as_markdown(run), export_name(run))


async def _own(request: Request, run_id: UUID) -> Run:
    user = await signed_in(request)
    run = await services(request).runs.get(user.id, run_id)
    if run is None:
        raise HTTPException(404)
    return run
