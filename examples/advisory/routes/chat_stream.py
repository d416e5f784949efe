"""An answer as it is written: server-sent events, numbered by the database, replayed from any number."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from advisory.council.chat import Chat, Turn
from advisory.pages.chat import step_of
from advisory.pages.markdown import Growth
from advisory.pages.visitor import signed_in
from advisory.routes.outages import with_outages
from advisory.routes.stream import number
from advisory.services import Services, services
from advisory.store.chat_turns import turn_topic
from prodkit import web
from prodkit.progress import RESYNC, Progress

__all__ = ["router"]

router = APIRouter(prefix="/conversas/{chat_id}/turnos/{turn_id}")
_AT_ONCE = 1000


@router.get("/eventos")
async def events(request: Request, chat_id: UUID, turn_id: UUID) -> Response:
    """Events after ``Last-Event-ID``, else after ``?depois=``; 204 after the last one of a finished answer."""
    app, owner_id, chat, turn = await _own(request, chat_id, turn_id)
    after = web.last_event_id(request, default=number(request.query_params.get("depois")))
    if turn.finished and after >= turn.last_seq:
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    steps = _steps(request, app, owner_id, chat, turn, after)
    return web.EventStream(with_outages(steps, app.listener, after), retry=1.0)


@router.get("/passos")
async def steps(request: Request, chat_id: UUID, turn_id: UUID) -> Response:
    """The same steps at once, for pages that hold no stream."""
    app, owner_id, chat, _ = await _own(request, chat_id, turn_id)
    after = number(request.query_params.get("depois"))
    found = await app.turns.read(turn_topic(turn_id), after, _AT_ONCE)
    turn = await app.chats.turn(owner_id, chat_id, turn_id)
    if turn is None:
        raise HTTPException(404)
    growth = Growth()
    return JSONResponse(
        [step_of(request, app, chat, turn, event, growth) for event in found.events],
        headers={"Cache-Control": "no-store"},
    )


async def _steps(
    request: Request, app: Services, owner_id: int, chat: Chat, turn: Turn, after: int
) -> AsyncGenerator[Progress, None]:
    now: Turn | None = turn
    growth = Growth()
    async with aclosing(app.channel.subscribe(turn_topic(turn.id), after=after)) as found:
        async for event in found:
            if event.name == RESYNC:  # the page's number is ahead of ours: the next event will do
                continue
            if now is not None and event.name == "turn.text" and event.id == now.last_seq + 1:
                text = now.answer + event.data["text"]
                now = replace(now, answer=text, last_seq=event.id, retry_at=None)
            elif now is None or event.id > now.last_seq:
                now = await app.chats.turn(owner_id, chat.id, turn.id)
            if now is None:
                return
            yield Progress(event.id, "passo", step_of(request, app, chat, now, event, growth))
            if now.finished and event.id >= now.last_seq:
                return


async def _own(request: Request, chat_id: UUID, turn_id: UUID) -> tuple[Services, int, Chat, Turn]:
    app, user = services(request), await signed_in(request)
    chat = await app.chats.get(user.id, chat_id)
    turn = (
        next((each for each in (*chat.turns, *chat.replaced) if each.id == turn_id), None) if chat else None
    )
    if chat is None or turn is None:
        raise HTTPException(404)
    return app, user.id, chat, turn
