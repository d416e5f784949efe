"""A question that was sent after the session had ended: kept, shown again after signing in, never lost."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from advisory.council.chat import MAX_CHAT_QUESTION
from advisory.council.plan import MAX_EXPERTS, MAX_QUESTION
from prodkit.sessions import Session

__all__ = ["KEPT", "KeepQuestion"]

KEPT: Final = "pergunta_guardada"
_CHAT: Final = re.compile(r"/conversas(/[0-9a-f-]{36}(/editar)?)?")
_MAX_BODY: Final = 64 * 1024


class KeepQuestion:
    """Keeps a question that arrives without a signed-in session in the visitor's new session, and asks to sign in.

    The token of such a form died with the session, so it stands before the CSRF check. It changes nothing but the
    visitor's own empty session, and only for requests that the browser calls same-origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = scope.get("session")
        if (
            scope["type"] != "http"
            or scope["method"] != "POST"
            or not (scope["path"] == "/conselhos" or _CHAT.fullmatch(scope["path"]))
            or not isinstance(session, Session)
            or session.user_id is not None
            or not _same_origin(Headers(scope=scope))
        ):
            await self.app(scope, receive, send)
            return
        body = b""
        while len(body) <= _MAX_BODY:
            message: Message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        form = parse_qs(body[:_MAX_BODY].decode("utf-8", "replace"), max_num_fields=40)
        if kept := _kept(scope["path"], form):
            session[KEPT] = kept
            session["notice"] = "Sua sessão expirou. Entre de novo: a sua pergunta está guardada."
        await RedirectResponse("/entrar", 303)(scope, receive, send)


def _kept(path: str, form: dict[str, list[str]]) -> dict[str, Any]:
    """What is shown again, and where; nothing for a form without a question."""
    question = form.get("question", [""])[0].strip()
    if not question:
        return {}
    if path == "/conselhos":
        experts = [each for each in form.get("experts", []) if each.isascii() and each.isdigit()]
        return {"question": question[:MAX_QUESTION], "experts": experts[: 2 * MAX_EXPERTS]}
    back = path
    if path == "/conversas":
        chosen = {"com": form.get("speaker", [""])[0][:40], "conselho": form.get("council", [""])[0][:40]}
        back = f"/conversas/nova?{urlencode({name: value for name, value in chosen.items() if value})}"
    return {"question": question[:MAX_CHAT_QUESTION], "back": back.removesuffix("/editar")}


def _same_origin(headers: Headers) -> bool:
    if "urlencoded" not in headers.get("content-type", ""):
        return False
    if (site := headers.get("sec-fetch-site")) is not None:
        return site == "same-origin"
    _, _, host = headers.get("origin", "").partition("://")
    return bool(host) and host == headers.get("host")
