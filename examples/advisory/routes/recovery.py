"""A forgotten password: a link by mail, then a new one. Pages that exist only where mail can be sent."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response

from advisory.pages.forms import Form, read_form
from advisory.pages.limits import RECOVERY, RECOVERY_IP, take
from advisory.pages.visitor import client_address, redirect, session_of
from advisory.services import Services, services
from advisory.store.recoveries import digest_of
from prodkit.ratelimit import account_key

__all__ = ["router"]

router = APIRouter(prefix="/recuperar")
_CODE: Final = "recuperar"
_SENT: Final = (
    "Se este e-mail tiver uma conta, o link chega em instantes e vale por 45 minutos. "
    "Veja também a caixa de spam."
)
_STALE: Final = "Este link não vale mais: ele dura 45 minutos e serve uma vez. Peça outro."


def _with_mail(request: Request) -> Services:
    app = services(request)
    if not app.mails.enabled:
        raise HTTPException(404)
    return app


@router.get("")
async def page(request: Request) -> Response:
    return _with_mail(request).pages.page(request, "recovery.html", form=Form())


@router.post("")
async def ask(request: Request) -> Response:
    """The same work for every address: one job, whose worker looks the account up."""
    app = _with_mail(request)
    form = await read_form(request)
    email = form.email()
    if form.errors:
        return app.pages.page(request, "recovery.html", status=422, form=form)
    await take(request, (RECOVERY, account_key(f"recuperar:{email}")), (RECOVERY_IP, client_address(request)))
    await app.mails.recovery.enqueue(app.db, email)
    session_of(request)["notice"] = _SENT
    return redirect("/recuperar")


@router.get("/nova")
async def new_page(request: Request) -> Response:
    """The link of the mail. Its code goes, hashed, into the visitor's session and out of the address: nothing that
    later sees the address (history, a proxy's log, a Referer) has the code. Opening it uses nothing up, for mail
    scanners open links too.
    """
    app = _with_mail(request)
    code = request.query_params.get("codigo")
    if code is not None:
        session_of(request)[_CODE] = digest_of(code)
        response = redirect("/recuperar/nova")
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        return response
    if not await app.recoveries.is_valid(session_of(request).get(_CODE, "")):
        return _stale(request)
    return app.pages.page(request, "recovery_new.html", form=Form())


@router.post("/nova")
async def choose(request: Request) -> Response:
    """Every session of the account ends, this one included: the new password is for signing in."""
    app = _with_mail(request)
    form = await read_form(request)
    session = session_of(request)
    digest = session.get(_CODE, "")
    email = await app.recoveries.email_of(digest)
    if email is None:
        return _stale(request)
    password = form.password(new=True, email=email)
    if form.errors:
        return app.pages.page(request, "recovery_new.html", status=422, form=form)
    await take(request, (RECOVERY_IP, f"nova:{client_address(request)}"))
    user = await app.recoveries.redeem(digest, await app.passwords.hash(password))
    if user is None:
        return _stale(request)
    await app.sessions.end_all(str(user.id), keep=session)
    await app.mails.changed.enqueue(app.db, user.email)
    if session.user_id is not None:
        session.logout()
    session = session_of(request)
    session.pop(_CODE, None)
    session["notice"] = "Senha trocada, e todas as sessões foram encerradas. Entre com a nova senha."
    return redirect("/entrar")


def _stale(request: Request) -> Response:
    session_of(request)["notice"] = _STALE
    session_of(request).pop(_CODE, None)
    return redirect("/recuperar")
