"""The pages of conversations: who one talks with, and the steps that a live page gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import Response

from advisory.council.chat import (
    CHAIR,
    CHAIR_ROLE,
    MAX_CHAT_QUESTION,
    Chat,
    Turn,
    chair_system,
    milestone,
    opening_from,
    standing,
    waiting,
)
from advisory.council.model import Run
from advisory.council.prompts import expert_system
from advisory.pages.forms import Form
from advisory.pages.markdown import Growth
from advisory.pages.visitor import session_of
from prodkit.progress import Progress

if TYPE_CHECKING:
    from advisory.services import Services
    from advisory.store.experts import Expert
    from advisory.store.users import User

__all__ = ["DRAFT", "Speaker", "chat_page", "new_page", "speakers_of", "step_of"]

DRAFT = "conversa_guardada"
"""The session's key of a question that was sent after the session had ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """A partner for a conversation. `value` names the choice in the form."""

    value: str
    name: str
    role: str
    system: str
    avatar_id: UUID | None = None
    expert_id: int | None = None
    opening: list[dict[str, str]] = field(default_factory=list)


def _expert(expert: Expert) -> Speaker:
    return Speaker(
        value=str(expert.id),
        name=expert.name,
        role=expert.title,
        system=expert_system(
            name=expert.name,
            role=expert.role,
            goals=expert.goals,
            style=expert.style,
            simulated=expert.simulated,
        ),
        avatar_id=expert.avatar_id,
        expert_id=expert.id,
    )


def _council(run: Run) -> list[Speaker]:
    """The chairman, and each expert who answered."""
    chair = Speaker(
        value="presidente",
        name=CHAIR,
        role=CHAIR_ROLE,
        system=chair_system(),
        opening=opening_from(run, None),
    )
    return [
        chair,
        *(
            Speaker(
                value=f"cadeira-{seat.position}",
                name=seat.name,
                role=seat.role,
                system=seat.system,
                avatar_id=seat.avatar_id,
                opening=opening_from(run, seat),
            )
            for seat in run.seats
            if seat.status == "done"
        ),
    ]


async def speakers_of(app: Services, user: User, run: Run | None) -> list[Speaker]:
    """Those whom one may talk with: after a council its members, else all experts."""
    if run is not None:
        return _council(run)
    return [_expert(each) for each in await app.experts.visible_to(user.id)]


async def new_page(
    request: Request, app: Services, user: User, form: Form, *, run: Run | None, chosen: str = ""
) -> Response:
    """The first question of a conversation; again, with what was typed, when something was wrong with it."""
    speakers = await speakers_of(app, user, run)
    if chosen not in {each.value for each in speakers}:
        chosen = speakers[0].value if speakers else ""
    return app.pages.page(
        request,
        "chat_new.html",
        status=422 if form.errors else 200,
        form=form,
        speakers=speakers,
        chosen=chosen,
        run=run,
        max_question=MAX_CHAT_QUESTION,
        form_key=form.key() or uuid4(),
    )


def chat_page(
    request: Request, app: Services, chat: Chat, form: Form | None = None, *, status: int = 200
) -> Response:
    """A conversation with its composer. A question that waited for signing in is in it again."""
    if form is None:
        form = Form(values={"question": session_of(request).pop(DRAFT, "")})
    active = chat.active
    last = chat.turns[-1] if chat.turns else None
    return app.pages.page(
        request,
        "chat.html",
        status=422 if form.errors and status == 200 else status,
        chat=chat,
        active=active,
        last=last,
        status_text=standing(last, chat.name) if active or (last and last.status != "done") else "",
        form=form,
        max_question=MAX_CHAT_QUESTION,
        form_key=form.key() or uuid4(),
        new_key=uuid4,
    )


def step_of(
    request: Request, app: Services, chat: Chat, turn: Turn, event: Progress, growth: Growth
) -> dict[str, Any]:
    """What the page does at one event. An earlier end of an answer that goes on since is history."""
    step: dict[str, Any] = {
        "seq": event.id,
        "kind": event.name,
        "message": milestone(event.name, event.data, chat.name),
    }
    if event.name in ("turn.started", "turn.retry", "turn.text"):
        step["wait"] = waiting(turn)
        step["message"] = step["message"] or step["wait"]
    if event.name == "turn.text" and not turn.finished:
        if growth.new:
            step["message"] = standing(turn, chat.name)
        step |= growth.step(turn.answer)
    if event.name == "turn.finished" and turn.finished and event.id == turn.last_seq:
        step |= {
            "final": True,
            "message": standing(turn, chat.name),
            "target": f"turno-{turn.position}",
            "html": app.pages.turn(request, chat, turn),
        }
    return step
