"""Templates: what every page has, and the fragments that the live stream sends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from uuid import uuid4

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from advisory.council.agreement import kind_of
from advisory.council.chat import TURN_LABELS, Chat, Turn, waiting
from advisory.council.cross_review import standings
from advisory.council.model import Run, Seat
from advisory.council.spending import spending, total
from advisory.council.texts import RUN_LABELS, SEAT_LABELS, standing, waiting_reason
from advisory.pages import filters, markdown
from advisory.research.model import Research, Step
from advisory.research.texts import RESEARCH_LABELS, SOURCE_LABELS, STEP_LABELS, day
from advisory.store.share import SHARE_DAYS
from prodkit import web
from prodkit.sessions import Session

__all__ = ["Pages"]

PART_LABELS: Final = {
    "postgres": "banco de dados",
    "redis": "Redis (limites e cache compartilhados)",
    "llm": "modelos de IA",
    "jobs": "fila de trabalho",
    "workers": "processos de trabalho",
    "mail": "e-mail",
    "backup": "cópia de segurança",
    "perplexity": "Perplexity",
    "youtube": "YouTube",
    "unsplash": "Unsplash",
}
"""The parts of the health report, for people."""


class Pages:
    """The templates with their filters."""

    def __init__(self, *, demo: bool, mail: bool = False) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            markdown=markdown.render,
            growing=markdown.growing,
            moment=filters.moment,
            seconds=filters.seconds,
            initials=filters.initials,
            hue=filters.hue,
            is_web=filters.is_web,
            capitalize_first=filters.capitalize_first,
            day=day,
            second=filters.second,
            decimal=filters.decimal,
            count=filters.count,
            dollars=filters.dollars,
            names=filters.names,
            missing_reviews=filters.missing_reviews,
            kind=kind_of,
            waiting_reason=waiting_reason,
            waiting=waiting,
        )
        self._environment.globals.update(
            demo=demo,
            mail=mail,
            run_labels=RUN_LABELS,
            part_labels=PART_LABELS,
            seat_labels=SEAT_LABELS,
            research_labels=RESEARCH_LABELS,
            source_labels=SOURCE_LABELS,
            step_labels=STEP_LABELS,
            share_days=SHARE_DAYS,
            standings=standings,
            spending=spending,
            total=total,
            read_only=False,
            turn_labels=TURN_LABELS,
        )

    def page(self, request: Request, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A whole page, never cached."""
        return HTMLResponse(self.html(request, name, **values), status, {"Cache-Control": "no-store"})

    def html(self, request: Request, name: str, **values: Any) -> str:
        """The text of a page. It shows and forgets the notice that the last one left in the session."""
        session = request.scope.get("session")
        notice = session.pop("notice", None) if session else None
        undo = session.pop("undo", None) if session else None
        return self._environment.get_template(name).render(
            user=getattr(request.state, "user", None) or _from_session(session),
            known=session is not None,  # an error outside of sessions does not know the visitor
            here=request.url.path,
            notice=notice,
            undo=undo,
            csrf=lambda: _field(request),
            **values,
        )

    def council(self, request: Request, run: Run) -> str:
        """The part of a council's page that changes at its end."""
        template = self._environment.get_template("_council.html")
        values: dict[str, Any] = {"link": "", "shares": [], "saved": False, "beside": False, "experts": ()}
        return template.render(run=run, csrf=lambda: _field(request), banner=standing(run), **values)

    def research(self, request: Request, research: Research) -> str:
        """The part of a research's page that changes at its end."""
        template = self._environment.get_template("_research.html")
        return template.render(research=research, csrf=lambda: _field(request))

    def source(self, request: Request, research: Research, step: Step) -> str:
        """One source's card."""
        template = self._environment.get_template("_source.html")
        return template.render(research=research, step=step, csrf=lambda: _field(request))

    def turn(self, request: Request, chat: Chat, turn: Turn) -> str:
        """One question with its answer."""
        template = self._environment.get_template("_turn.html")
        last = bool(chat.turns) and chat.turns[-1].id == turn.id
        return template.render(
            chat=chat, turn=turn, last_turn=last, csrf=lambda: _field(request), new_key=uuid4
        )

    def seat(self, seat: Seat) -> str:
        """One expert's card."""
        return self._environment.get_template("_seat.html").render(seat=seat, open=False, retry=False)


def _from_session(session: Session | None) -> SimpleNamespace | None:
    """The account's name for pages that did not look the account up, such as errors and the health page."""
    if session is None or session.user_id is None:
        return None
    return SimpleNamespace(name=session.get("name", "Sua conta"))


def _field(request: Request) -> Markup:
    return Markup('<input type="hidden" name="csrf_token" value="{}">').format(web.csrf_token(request))
