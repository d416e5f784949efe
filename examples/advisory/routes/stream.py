"""A council as it happens: server-sent events, numbered by the database, replayed from any number."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from advisory.council.model import Run
from advisory.council.texts import milestone, standing
from advisory.pages.markdown import Growth
from advisory.pages.visitor import signed_in
from advisory.routes.outages import with_outages
from advisory.services import Services, services
from advisory.store.events import run_topic
from prodkit import web
from prodkit.progress import RESYNC, Progress

__all__ = ["number", "router"]

router = APIRouter()

_AT_ONCE = 500
"""Steps in one answer to a page that asks every two seconds."""


@router.get("/conselhos/{run_id}/eventos")
async def events(request: Request, run_id: UUID) -> Response:
    """Events after ``Last-Event-ID`` (which browsers send when they come back), else after ``?depois=``.

    After the run's last event, 204 makes the browser stop reconnecting.
    """
    app, user = services(request), await signed_in(request)
    run = await app.runs.get(user.id, run_id)
    if run is None:
        raise HTTPException(404)
    after = web.last_event_id(request, default=number(request.query_params.get("depois")))
    if run.finished and after >= run.last_seq:
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    steps = _steps(request, app, user.id, run, after)
    return web.EventStream(with_outages(steps, app.listener, after), retry=1.0)


@router.get("/conselhos/{run_id}/passos")
async def steps(request: Request, run_id: UUID) -> Response:
    """The same steps at once, for pages that hold no stream: a browser has six connections to a host."""
    app, user = services(request), await signed_in(request)
    after = number(request.query_params.get("depois"))
    found = await app.events.read(run_topic(run_id), after, _AT_ONCE)
    run = await app.runs.get(user.id, run_id)
    if run is None:
        raise HTTPException(404)
    growth = Growth()
    return JSONResponse(
        [_step(request, app, run, event, growth) for event in found.events],
        headers={"Cache-Control": "no-store"},
    )


async def _steps(
    request: Request, app: Services, owner_id: int, run: Run, after: int
) -> AsyncGenerator[Progress, None]:
    now: Run | None = run
    growth = Growth()
    async with aclosing(app.channel.subscribe(run_topic(run.id), after=after)) as events:
        async for event in events:
            if event.name == RESYNC:  # the page's number is ahead of ours: the next event will do
                continue
            if now is not None and event.name == "chair.text" and event.id == now.last_seq + 1:
                now = replace(now, synthesis=now.synthesis + event.data["text"], last_seq=event.id)
            elif now is None or event.id > now.last_seq:
                now = await app.runs.get(owner_id, run.id)
            if now is None:
                return
            yield Progress(event.id, "passo", _step(request, app, now, event, growth))
            if now.finished and event.id >= now.last_seq:
                return


def _step(request: Request, app: Services, run: Run, event: Progress, growth: Growth) -> dict[str, Any]:
    step: dict[str, Any] = {
        "seq": event.id,
        "kind": event.name,
        "message": milestone(event.name, event.data),
        **{name: event.data[name] for name in ("settled", "total") if name in event.data},
    }
    position = event.data.get("position")
    if position is not None:
        step["target"] = f"cadeira-{position}"
        step["html"] = app.pages.seat(run.seats[position - 1])
    if event.name == "chair.text" and not run.finished:
        step |= growth.step(run.synthesis)
    # An earlier end of a run that was resumed since is history, not the end of this stream.
    if event.name == "run.finished" and run.finished and event.id == run.last_seq:
        step |= {
            "final": True,
            "state": run.status,
            "message": standing(run),
            "target": "conselho",
            "html": app.pages.council(request, run),
        }
    return step


def number(text: str | None) -> int:
    """The number in a query; 0 for what is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else 0
