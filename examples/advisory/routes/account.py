"""One's own account: password, sessions, data, deletion."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request, Response

from advisory.pages.forms import Form, read_form
from advisory.pages.limits import take
from advisory.pages.visitor import handle_of, redirect, session_of, signed_in
from advisory.services import services
from prodkit.ratelimit import LOGIN, account_key

__all__ = ["router"]

router = APIRouter(prefix="/conta")


async def _page(request: Request, form: Form, *, status: int = 200) -> Response:
    app, user = services(request), await signed_in(request)
    session = session_of(request)
    sessions = await app.sessions.list_for(str(user.id))
    return app.pages.page(
        request, "account.html", status=status, form=form, sessions=sessions, mine=handle_of(session)
    )


@router.get("")
async def page(request: Request) -> Response:
    return await _page(request, Form())


@router.post("/senha")
async def change_password(request: Request) -> Response:
    """The old password is asked for: an open screen is not enough. Every other session ends."""
    app, user = services(request), await signed_in(request)
    form = await read_form(request)
    current = form.values.pop("current", "")
    fresh = form.password(new=True, email=user.email)
    if not current:
        form.errors["current"] = "Preencha o campo “Senha atual”."
    if not form.errors:
        attempt = await take(request, (LOGIN, account_key(f"senha:{user.email}")))
        found = await app.users.with_hash(user.email)
        right, _ = await app.passwords.verify(found[1] if found else None, current)
        if right:
            await app.limiter.refund(attempt)
            await app.users.set_hash(user.id, await app.passwords.hash(fresh))
            await app.recoveries.forget(user.id)
            session = session_of(request)
            ended = await app.sessions.end_all(str(user.id), keep=session)
            session.rotate()
            session["notice"] = "Senha alterada." + (" As outras sessões foram encerradas." if ended else "")
            return redirect("/conta")
        form.errors["current"] = "A senha atual não confere."
    return await _page(request, form, status=422)


@router.post("/sessoes/encerrar")
async def end_session(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    handle = (await read_form(request)).values.get("handle", "")
    if await app.sessions.end(str(user.id), handle):
        session_of(request)["notice"] = "Sessão encerrada."
    return redirect("/conta")


@router.post("/sessoes/todas")
async def end_everywhere(request: Request) -> Response:
    """Signs out everywhere, here too."""
    app, user = services(request), await signed_in(request)
    await app.sessions.end_all(str(user.id), keep=session_of(request))
    session_of(request).logout()
    response = redirect("/entrar")
    if app.demo is not None:
        app.demo.remember_leaving(response)
    return response


@router.get("/dados")
async def export(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    text = json.dumps(await app.account.export(user.id), ensure_ascii=False, indent=2)
    headers = {"Content-Disposition": 'attachment; filename="meus-dados.json"', "Cache-Control": "no-store"}
    return Response(text, media_type="application/json", headers=headers)


@router.post("/excluir")
async def delete(request: Request) -> Response:
    """The account's own e-mail, typed, is the confirmation."""
    app, user = services(request), await signed_in(request)
    form = await read_form(request)
    if form.values.get("confirm", "").strip().lower() != user.email:
        form.errors["confirm"] = (
            "Para excluir a conta, escreva o seu e-mail exatamente como ele aparece acima."
        )
        return await _page(request, form, status=422)
    await app.sessions.end_all(str(user.id), keep=session_of(request))
    await app.account.delete(user.id)
    session_of(request).logout()
    return redirect("/entrar")
