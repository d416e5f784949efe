"""A research as it happens: start it for a persona, follow it, stop it, ask a source again, delete it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from advisory.pages.filters import clock
from advisory.pages.forms import read_form
from advisory.pages.limits import ENRICHMENT, SOURCE_AGAIN, spending
from advisory.pages.visitor import redirect, session_of, signed_in
from advisory.research.model import STEPS, Research
from advisory.research.texts import milestone, standing
from advisory.routes.outages import with_outages
from advisory.routes.personas import PersonaId
from advisory.routes.stream import number
from advisory.services import Services, services
from advisory.store.research_events import topic_of
from prodkit import web
from prodkit.progress import RESYNC, Progress

__all__ = ["own", "router", "unavailable"]

router = APIRouter()


@router.post("/personas/{persona_id}/enriquecer")
async def enrich(request: Request, persona_id: PersonaId) -> Response:
    app, user = services(request), await signed_in(request)
    persona = await app.personas.get(user.id, persona_id)
    if persona is None:
        raise HTTPException(404)
    form = await read_form(request)
    if problem := unavailable(app):
        session_of(request)["notice"] = f"{problem} Nada foi descontado."
        return redirect(f"/personas/{persona_id}")
    described = ". ".join(each for each in (persona.role, persona.goals) if each)
    async with spending(request, ENRICHMENT, user.id) as use:
        research_id, made = await app.researches.begin(
            user.id,
            "enrichment",
            subject=persona.name,
            context=described,
            persona_id=persona.id,
            form_key=form.key(),
        )
        if not made:  # the same form again, or one that is being made
            use.give_back()
    return redirect(f"/pesquisas/{research_id}")


@router.get("/pesquisas/{research_id}")
async def look(request: Request, research_id: UUID) -> Response:
    research = await own(request, research_id)
    return services(request).pages.page(
        request, "research.html", research=research, banner=standing(research)
    )


@router.get("/pesquisas/{research_id}/eventos")
async def events(request: Request, research_id: UUID) -> Response:
    """Events after ``Last-Event-ID``, else after ``?depois=``; 204 after the last one ends the reconnecting."""
    app, user = services(request), await signed_in(request)
    research = await own(request, research_id)
    after = web.last_event_id(request, default=number(request.query_params.get("depois")))
    if research.finished and after >= research.last_seq:
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    steps = _steps(request, app, user.id, research, after)
    return web.EventStream(with_outages(steps, app.listener, after), retry=1.0)


@router.get("/pesquisas/{research_id}/passos")
async def steps(request: Request, research_id: UUID) -> Response:
    """The same steps at once, for pages that hold no stream."""
    app = services(request)
    after = number(request.query_params.get("depois"))
    found = await app.research_events.read(topic_of(research_id), after, 500)
    research = await own(request, research_id)
    return JSONResponse(
        [_step(request, app, research, event) for event in found.events],
        headers={"Cache-Control": "no-store"},
    )


async def _steps(
    request: Request, app: Services, owner_id: int, research: Research, after: int
) -> AsyncGenerator[Progress, None]:
    now: Research | None = research
    async with aclosing(app.channel.subscribe(topic_of(research.id), after=after)) as events:
        async for event in events:
            if event.name == RESYNC:
                continue
            if now is None or event.id > now.last_seq:
                now = await app.researches.get(owner_id, research.id)
            if now is None:
                return
            yield Progress(event.id, "passo", _step(request, app, now, event))
            if now.finished and event.id >= now.last_seq:
                return


def _step(request: Request, app: Services, research: Research, event: Progress) -> dict[str, Any]:
    step: dict[str, Any] = {
        "seq": event.id,
        "kind": event.name,
        "message": milestone(event.name, event.data),
        "settled": research.settled,
        "total": len(STEPS),
    }
    name = event.data.get("name")
    if name is not None:
        step["target"] = f"fonte-{name}"
        step["html"] = app.pages.source(request, research, research.step(name))
    if event.name == "research.finished" and research.finished and event.id == research.last_seq:
        step |= {
            "final": True,
            "state": research.status,
            "message": standing(research),
            "target": "pesquisa",
            "html": app.pages.research(request, research),
        }
    return step


@router.post("/pesquisas/{research_id}/parar")
async def stop(request: Request, research_id: UUID) -> Response:
    """Stopping what has just finished is no error: the page shows how it ended."""
    app, user = services(request), await signed_in(request)
    if not await app.researches.stop(user.id, research_id):
        await own(request, research_id)
    return redirect(f"/pesquisas/{research_id}")


@router.post("/pesquisas/{research_id}/fontes/{name}/tentar")
async def again(request: Request, research_id: UUID, name: str) -> Response:
    app, user = services(request), await signed_in(request)
    research = await own(request, research_id)
    if name not in (*STEPS, "todas"):
        raise HTTPException(404)
    if research.finished and research.accepted_at is None:
        async with spending(request, SOURCE_AGAIN, user.id) as use:
            if not await app.researches.again(user.id, research_id, name):
                use.give_back()
    return redirect(f"/pesquisas/{research_id}")


@router.post("/pesquisas/{research_id}/apagar")
async def delete(request: Request, research_id: UUID) -> Response:
    app, user = services(request), await signed_in(request)
    research = await own(request, research_id)
    if not await app.researches.delete(user.id, research_id):
        raise HTTPException(404)
    session_of(request)["notice"] = "Pesquisa apagada, com tudo o que ela trouxe."
    return redirect("/especialistas" if research.kind == "clone" else f"/personas/{research.persona_id}")


def unavailable(app: Services) -> str:
    """Why a research would find nothing now; nothing when a source can be asked."""
    if not app.sources.any_configured:
        return "Nenhuma fonte está configurada nesta instalação."
    wait = app.sources.paused()
    if wait is None:
        return ""
    return f"As fontes estão em pausa depois de várias falhas seguidas; nova tentativa às {clock(wait)}."


async def own(request: Request, research_id: UUID) -> Research:
    """The visitor's research, or 404."""
    user = await signed_in(request)
    research = await services(request).researches.get(user.id, research_id)
    if research is None:
        raise HTTPException(404)
    return research
