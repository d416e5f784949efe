"""A council as it happens: server-sent events, numbered by the database, replayed from any number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from advisory.council.model import Run
from advisory.council.texts import milestone, standing
from advisory.pages.markdown import growing
from advisory.pages.visitor import signed_in
from advisory.services import Services, services
from advisory.store.events import RunEvent
from prodkit import web
from prodkit.progress import Progress

__all__ = ["router"]

router = APIRouter()

_RECHECK = 2.0
"""Seconds after which a stream looks by itself, should a notice have been lost."""


@router.get("/conselhos/{run_id}/eventos")
async def events(request: Request, run_id: UUID) -> Response:
    """Events after ``Last-Event-ID`` (which browsers send when they come back), else after ``?depois=``.

    After the run's last event, 204 makes the browser stop reconnecting.
    """
    app, user = services(request), await signed_in(request)
    run = await app.runs.get(user.id, run_id)
    if run is None:
        raise HTTPException(404)
    after = web.last_event_id(request, default=_number(request.query_params.get("depois")))
    if run.finished and after >= run.last_seq:
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    return web.EventStream(_steps(request, app, user.id, run, after), retry=1.0, drain=app.drain)


@router.get("/conselhos/{run_id}/passos")
async def steps(request: Request, run_id: UUID) -> Response:
    """The same steps at once, for pages that hold no stream: a browser has six connections to a host."""
    app, user = services(request), await signed_in(request)
    after = _number(request.query_params.get("depois"))
    found = await app.events.after(run_id, after)
    run = await app.runs.get(user.id, run_id)
    if run is None:
        raise HTTPException(404)
    return JSONResponse(
        [_step(request, app, run, event) for event in found], headers={"Cache-Control": "no-store"}
    )


async def _steps(
    request: Request, app: Services, owner_id: int, run: Run, after: int
) -> AsyncIterator[Progress]:
    news = app.wakeups.subscribe(run.id)
    try:
        while True:
            news.clear()
            found = await app.events.after(run.id, after)
            if found:
                now = await app.runs.get(owner_id, run.id)
                if now is None:
                    return
                for event in found:
                    yield Progress(event.seq, "passo", _step(request, app, now, event))
                    after = event.seq
                if now.finished and after >= now.last_seq:
                    return
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), _RECHECK)
    finally:
        app.wakeups.unsubscribe(run.id, news)


def _step(request: Request, app: Services, run: Run, event: RunEvent) -> dict[str, Any]:
    step: dict[str, Any] = {
        "seq": event.seq,
        "kind": event.kind,
        "message": milestone(event.kind, event.data),
        **{name: event.data[name] for name in ("settled", "total") if name in event.data},
    }
    position = event.data.get("position")
    if position is not None:
        step["target"] = f"cadeira-{position}"
        step["html"] = app.pages.seat(run.seats[position - 1])
    if event.kind == "chair.text" and not run.finished:
        step["done"], step["rest"] = growing(run.synthesis)
    # An earlier end of a run that was resumed since is history, not the end of this stream.
    if event.kind == "run.finished" and run.finished and event.seq == run.last_seq:
        step |= {
            "final": True,
            "state": run.status,
            "message": standing(run),
            "target": "conselho",
            "html": app.pages.council(request, run),
        }
    return step


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else 0
