"""A council as it happens: server-sent events, numbered by the database, replayed from any number."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.responses import StreamingResponse

from advisory.council.model import Run
from advisory.council.texts import milestone, standing
from advisory.pages.visitor import signed_in
from advisory.services import Services, services
from advisory.store.events import RunEvent

__all__ = ["router"]

router = APIRouter()

_HEARTBEAT = 10.0
_RECHECK = 2.0
"""Seconds after which a stream looks by itself, should a notice have been lost."""
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get("/conselhos/{run_id}/eventos")
async def events(request: Request, run_id: UUID) -> Response:
    """Events after ``Last-Event-ID`` (which browsers send when they come back), else after ``?depois=``.

    When the run has ended and nothing is left to tell, 204 tells the browser not to come back.
    """
    app, user = services(request), await signed_in(request)
    run = await app.runs.get(user.id, run_id)
    if run is None:
        raise HTTPException(404)
    after = _number(request.headers.get("last-event-id")) or _number(request.query_params.get("depois")) or 0
    if run.finished and after >= run.last_seq:
        return Response(status_code=204, headers=_HEADERS)
    return StreamingResponse(
        _stream(request, app, user.id, run, after), media_type="text/event-stream", headers=_HEADERS
    )


async def _stream(
    request: Request, app: Services, owner_id: int, run: Run, after: int
) -> AsyncIterator[str]:
    news = app.wakeups.subscribe(run.id)
    loop = asyncio.get_running_loop()
    spoke = loop.time()
    try:
        yield "retry: 1000\n\n"
        while not app.draining.is_set():
            news.clear()
            found = await app.events.after(run.id, after)
            if found:
                now = await app.runs.get(owner_id, run.id)
                if now is None:
                    return
                for event in found:
                    yield _message(request, app, now, event)
                    after = event.seq
                spoke = loop.time()
                if now.finished and after >= now.last_seq:
                    return
            elif loop.time() - spoke >= _HEARTBEAT:
                yield ": still here\n\n"
                spoke = loop.time()
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), _RECHECK)
    finally:
        app.wakeups.unsubscribe(run.id, news)


def _message(request: Request, app: Services, run: Run, event: RunEvent) -> str:
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
    # An earlier end of a run that was resumed since is history, not the end of this stream.
    if event.kind == "run.finished" and run.finished and event.seq == run.last_seq:
        step |= {
            "final": True,
            "state": run.status,
            "message": standing(run),
            "target": "conselho",
            "html": app.pages.council(request, run),
        }
    return f"id: {event.seq}\nevent: passo\ndata: {json.dumps(step, ensure_ascii=False)}\n\n"


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None
