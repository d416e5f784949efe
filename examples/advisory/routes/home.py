"""The first page: what do you want to decide?"""

from __future__ import annotations

from uuid import uuid4

from fastapi import APIRouter, Request, Response

from advisory.council.plan import MAX_QUESTION
from advisory.pages.chat import DRAFT
from advisory.pages.example import EXAMPLE
from advisory.pages.forms import Form
from advisory.pages.kept import KEPT
from advisory.pages.visitor import current_user, redirect, session_of
from advisory.services import Services, services
from advisory.store.users import User

__all__ = ["ask_page", "router"]

router = APIRouter()

SAMPLES = (
    "Devo aceitar um emprego melhor pago em outra cidade, longe da família?",
    "Vale a pena abrir uma segunda loja ainda este ano?",
    "Como conto ao meu sócio que quero sair da empresa?",
)


@router.get("/")
async def home(request: Request) -> Response:
    app = services(request)
    user = await current_user(request)
    if user is None:
        if app.demo is not None and app.demo.may_sign_in(request):
            app.demo.sign_in(request)
            return redirect("/")
        return app.pages.page(request, "welcome.html", run=EXAMPLE, read_only=True)
    if (kept := session_of(request).pop(KEPT, None)) is not None:
        session_of(request)["notice"] = "Aqui está a sua pergunta. Confira e envie."
        if "back" in kept:  # it belongs to a conversation
            session_of(request)[DRAFT] = kept["question"]
            return redirect(kept["back"])
        form = Form(values={"question": kept["question"], **kept.get("choices", {})})
        return await ask_page(request, app, user, form, chosen={int(each) for each in kept["experts"]})
    question = request.query_params.get("pergunta", "")[:MAX_QUESTION]
    if not question and app.demo is not None and app.demo.is_demo_user(user):
        question = app.demo.prepared_question
    chosen = await app.runs.experts_of(user.id, request.query_params.get("conselho", ""))
    values = {"question": question}
    if request.query_params.get("novo") == "1":
        values["fresh"] = "1"
    return await ask_page(request, app, user, Form(values=values), chosen=chosen)


async def ask_page(
    request: Request, app: Services, user: User, form: Form, *, chosen: set[int] | None = None
) -> Response:
    """The composer; again, with what was typed, when something was wrong with it."""
    experts = await app.experts.visible_to(user.id)
    return app.pages.page(
        request,
        "home.html",
        status=422 if form.errors else 200,
        form=form,
        experts=experts,
        personas=await app.personas.of(user.id),
        persona=form.values.get("persona", "") or request.query_params.get("persona", ""),
        chosen={each.id for each in experts[:3]} if chosen is None else chosen,
        samples=() if form.values.get("question") else SAMPLES,
        recent=await app.runs.history(user.id, limit=5),
        max_question=MAX_QUESTION,
        form_key=form.key() or uuid4(),
    )
