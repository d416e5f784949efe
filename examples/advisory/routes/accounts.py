"""Register, sign in, sign out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from advisory.pages.forms import Form, read_form
from advisory.pages.limits import take
from advisory.pages.visitor import client_address, current_user, log_in, redirect, safe_next, session_of
from advisory.services import services
from advisory.store.users import EmailTakenError
from prodkit.ratelimit import LOGIN, LOGIN_IP, REGISTER, account_key

__all__ = ["router"]

router = APIRouter()


@router.get("/entrar")
async def sign_in_page(request: Request) -> Response:
    if await current_user(request):
        return redirect("/")
    form = Form(values={"next": safe_next(request.query_params.get("proxima", "/"))})
    return services(request).pages.page(request, "sign_in.html", form=form)


@router.post("/entrar")
async def sign_in(request: Request) -> Response:
    """The same words and the same time for an unknown address and a wrong password."""
    app = services(request)
    form = await read_form(request)
    form.values["next"] = safe_next(form.values.get("next", "/"))
    email, password = form.email(), form.password(new=False)
    if not form.errors:
        attempt = await take(request, (LOGIN, account_key(email)), (LOGIN_IP, client_address(request)))
        found = await app.users.with_hash(email)
        right, newer = await app.passwords.verify(found[1] if found else None, password)
        if right and found:
            await app.limiter.refund(attempt)  # only failures count
            if newer:
                await app.users.set_hash(found[0].id, newer)
            log_in(request, found[0])
            return redirect(form.values["next"])
        form.errors["password"] = "E-mail ou senha não conferem. Verifique os dois e tente de novo."
    return app.pages.page(request, "sign_in.html", status=422, form=form)


@router.get("/cadastro")
async def register_page(request: Request) -> Response:
    if await current_user(request):
        return redirect("/")
    return services(request).pages.page(request, "register.html", form=Form())


@router.post("/cadastro")
async def register(request: Request) -> Response:
    app = services(request)
    form = await read_form(request)
    name = form.text("name", "Nome", least=2, most=80)
    email = form.email()
    password = form.password(new=True, email=email)
    if not form.errors:
        await take(request, (REGISTER, client_address(request)))
        try:
            user = await app.users.add(
                email=email, name=name, password_hash=await app.passwords.hash(password)
            )
        except EmailTakenError:
            form.errors["email"] = "Já existe uma conta com este e-mail. Entre, ou use outro endereço."
        else:
            log_in(request, user)
            session_of(request)["notice"] = f"Conta criada. Boas-vindas, {user.name}!"
            return redirect("/")
    return app.pages.page(request, "register.html", status=422, form=form)


@router.post("/sair")
async def sign_out(request: Request) -> Response:
    session_of(request).logout()
    response = redirect("/entrar")
    app = services(request)
    if app.demo is not None:
        app.demo.remember_leaving(response)
    return response
