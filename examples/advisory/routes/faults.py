"""The demo's fault theatre, its outbox, and the operator's console beside it. Elsewhere these pages do not exist."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import uuid4

from fastapi import APIRouter, HTTPException, Request, Response

from advisory.council.texts import standing
from advisory.demo.data import PREPARED_QUESTION
from advisory.demo.theatre import Theatre
from advisory.pages.forms import read_form
from advisory.pages.visitor import redirect, session_of, signed_in
from advisory.services import Services, services
from advisory.store.users import User
from prodkit import web
from prodkit.errors import ProdkitError

__all__ = ["router"]

router = APIRouter()
_EXPERTS: Final = 5
_POLICY: Final = f"{web.CONTENT_SECURITY_POLICY}; frame-src 'self'"
"""The console stands in a frame."""


async def _theatre(request: Request) -> tuple[Services, User, Theatre]:
    app = services(request)
    if app.demo is None or app.demo.theatre is None:
        raise HTTPException(404)
    return app, await signed_in(request), app.demo.theatre


async def _scene(app: Services, user: User, theatre: Theatre) -> dict[str, Any]:
    """What the page shows of this moment. Without a database it shows the rest."""
    now = asyncio.get_running_loop().time()
    minute = theatre.minute
    runs, processes, live = [], [], None
    try:
        async with asyncio.timeout(1.0):
            runs = await app.runs.history(user.id, limit=10 if minute and not minute.over else 3)
            processes = await app.fleet.processes()
            if (first := next((each for each in runs if not each.finished), None)) is not None:
                live = await app.runs.get(user.id, first.id)
    except (ProdkitError, TimeoutError):
        pass
    report = await app.health.report()
    return {
        "stages": [(each, each.left(now), each.back(now)) for each in theatre.shown()],
        "minute": minute,
        "runs": runs,
        "live": live,
        "banner": standing(live) if live is not None else "",
        "processes": [each for each in processes if each.works],
        "report": report,
    }


@router.get("/falhas")
async def panel(request: Request) -> Response:
    app, user, theatre = await _theatre(request)
    scene = await _scene(app, user, theatre)
    page = app.pages.page(request, "faults.html", faults=theatre.faults.values(), **scene)
    page.headers["Content-Security-Policy"] = _POLICY
    return page


@router.get("/falhas/agora")
async def now(request: Request) -> Response:
    """The part of the page that changes, for its script."""
    app, user, theatre = await _theatre(request)
    return app.pages.page(request, "_faults.html", **await _scene(app, user, theatre))


@router.post("/falhas")
async def cause(request: Request) -> Response:
    _, _, theatre = await _theatre(request)
    fault = theatre.faults.get((await read_form(request)).values.get("fault", ""))
    if fault is None:
        raise HTTPException(404)
    begun = theatre.begin(fault.name)
    session_of(request)["notice"] = f"{'Feito' if begun else 'Já está acontecendo'}: {fault.label}."
    return redirect("/falhas")


@router.post("/falhas/conselho")
async def council(request: Request) -> Response:
    """A council to watch, which counts against no limit: breaking things is the purpose of this page."""
    app, user, _ = await _theatre(request)
    experts = (await app.experts.visible_to(user.id))[:_EXPERTS]
    await app.runs.ask(user.id, PREPARED_QUESTION, experts, form_key=uuid4())
    session_of(request)["notice"] = "O conselho começou: veja-o abaixo, ou abra a sua página."
    return redirect("/falhas")


@router.post("/falhas/minuto")
async def minute(request: Request) -> Response:
    app, user, theatre = await _theatre(request)
    begun = theatre.play_minute(app, user.id)
    session_of(request)["notice"] = (
        "60 segundos ruins: começou. Todas as falhas, uma depois da outra, contra dez conselhos."
        if begun
        else "Os 60 segundos já estão correndo."
    )
    return redirect("/falhas")


@router.get("/demo/falhas")
async def old_address(request: Request) -> Response:
    await _theatre(request)
    return redirect("/falhas")


@router.get("/demo/caixa")
async def outbox(request: Request) -> Response:
    """The mails of this demo. Every visitor of the demo may read them, also signed out: links in them sign in."""
    app = services(request)
    if app.demo is None or app.demo.outbox is None or not app.demo.may_look(request):
        raise HTTPException(404)
    letters = await asyncio.to_thread(app.demo.outbox.letters)
    return app.pages.page(request, "outbox.html", letters=letters, link=f"{app.settings.public_url}/")
