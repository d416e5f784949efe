"""Try out an expert, or a clone's draft, with one question. The answer lives in its job alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from advisory.council.prompts import expert_system
from advisory.pages.forms import Form, read_form
from advisory.pages.limits import TRIAL, spending
from advisory.pages.visitor import redirect, signed_in
from advisory.routes.clone import open_draft
from advisory.services import services
from advisory.worker.trial import NAME
from prodkit import jobs, web
from prodkit.progress import Progress

__all__ = ["router"]

router = APIRouter(prefix="/experimentar")
_LOOK = 0.5
_MOST = 600
_LOST = "a resposta não chegou; pergunte de novo"


@router.get("")
async def ask_page(request: Request) -> Response:
    return await _page(request, request.query_params, Form())


@router.post("")
async def ask(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    form = await read_form(request)
    question = form.text("question", "Sua pergunta", least=3, most=_MOST)
    person = await _person(request, form.values)
    if form.errors:
        return await _page(request, form.values, form)
    async with spending(request, TRIAL, user.id):
        run = await app.trial.using(tenant=str(user.id)).enqueue(app.db, person["system"], question)
    return redirect(f"/experimentar/{run.id}?{person['what']}={person['which']}")


@router.get("/{job_id}")
async def look(request: Request, job_id: UUID) -> Response:
    run = await _own(request, job_id)
    question = str(json.loads(run.arguments)[0][1])
    answer = _answer(run)
    state, banner = "running", "Perguntando…"
    if run.finished:
        reason = answer.get("reason") or ("" if answer.get("text") else _LOST)
        state, banner = ("partial", f"Sem resposta: {reason}.") if reason else ("done", "Respondido.")
    return await _page(
        request,
        request.query_params,
        Form(),
        question=question,
        state=state,
        banner=banner,
        pending=not run.finished,
        answer=answer.get("text", ""),
        model=answer.get("model", ""),
        job_id=job_id,
    )


@router.get("/{job_id}/eventos")
async def events(request: Request, job_id: UUID) -> Response:
    run = await _own(request, job_id)
    if web.last_event_id(request, default=0):
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    app = services(request)

    async def wait() -> AsyncIterator[Progress]:
        now: jobs.Run | None = run
        while now is not None and not now.finished:
            await app.runtime.clock.sleep(_LOOK)
            now = await app.job_runs.get(job_id)
        yield Progress(1, "passo", {"seq": 1, "message": "", "final": True})

    return web.EventStream(wait(), retry=1.0)


@router.get("/{job_id}/passos")
async def steps(request: Request, job_id: UUID) -> Response:
    run = await _own(request, job_id)
    found = [{"seq": 1, "message": "", "final": True}] if run.finished else []
    return JSONResponse(found, headers={"Cache-Control": "no-store"})


async def _page(request: Request, chosen: Any, form: Form, **values: Any) -> Response:
    person = await _person(request, chosen)
    shown = {"question": "", "state": "", "banner": "", "pending": False, "answer": "", "model": ""}
    return services(request).pages.page(
        request,
        "trial.html",
        status=422 if form.errors else 200,
        form=form,
        **{**shown, "job_id": "", **person, **values},
    )


async def _person(request: Request, chosen: Any) -> dict[str, Any]:
    """The expert or draft that a form or an address names, with its system prompt; else 404."""
    app, user = services(request), await signed_in(request)
    number = str(chosen.get("especialista", ""))
    if number.isascii() and number.isdigit() and len(number) < 19:
        found = await app.experts.some(user.id, [int(number)])
        if found:
            one = found[0]
            system = expert_system(
                name=one.name, role=one.role, goals=one.goals, style=one.style, simulated=one.simulated
            )
            return {
                "expert": one.name,
                "system": system,
                "what": "especialista",
                "which": number,
                "back": "/especialistas",
            }
    try:
        clone = UUID(str(chosen.get("clone", "")))
    except ValueError:
        raise HTTPException(404) from None
    research, draft = await open_draft(request, clone)
    system = expert_system(
        name=research.subject, role=draft.role, goals=draft.goals, style=draft.style, simulated=True
    )
    return {
        "expert": research.subject,
        "system": system,
        "what": "clone",
        "which": str(clone),
        "back": f"/clones/{clone}",
    }


def _answer(run: jobs.Run) -> dict[str, Any]:
    found = json.loads(run.result) if run.status == "done" and run.result else {}
    return found if isinstance(found, dict) else {}


async def _own(request: Request, job_id: UUID) -> jobs.Run:
    user = await signed_in(request)
    run = await services(request).job_runs.get(job_id)
    if run is None or run.kind != NAME or run.tenant != str(user.id):
        raise HTTPException(404)
    return run
