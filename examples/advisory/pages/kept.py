"""A question that could not be asked: kept, shown again, never lost.

``CarryQuestion`` reads the form of a question before everything else, so that an error page can show it again and
offer the way back. ``KeepQuestion`` puts it into the visitor's session: when it arrives after the session had ended
(the visitor signs in first), and when an error page sends it back to the composer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from advisory.council.chat import MAX_CHAT_QUESTION
from advisory.council.plan import MAX_EXPERTS, MAX_QUESTION
from prodkit.sessions import Session

__all__ = ["BACK", "KEPT", "CarryQuestion", "KeepQuestion", "carried"]

KEPT: Final = "pergunta_guardada"
BACK: Final = "voltar"
"""The field by which an error page sends a question back to its composer instead of asking it."""
Fields: TypeAlias = Mapping[str, list[str]]
_CARRIED: Final = "advisory.question"
_CHAT: Final = re.compile(r"/conversas(/[0-9a-f-]{36}(/editar)?)?")
_MAX_BODY: Final = 64 * 1024
_PATIENCE: Final = 8.0
"""Seconds for the body to arrive here; what is late is read by the handler, within the request's deadline."""


def carried(scope: Scope) -> Fields | None:
    """The fields of the question that this request brought from one of our own pages, or None."""
    found: Fields | None = scope.get(_CARRIED)
    return found if found and found.get("question", [""])[0].strip() else None


class CarryQuestion:
    """Reads the form of a question, notes it in the scope and hands the body on; the outermost layer.

    An error can end the request before anything else has read the body: the database behind the session is away.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] != "POST"
            or not (scope["path"] == "/conselhos" or _CHAT.fullmatch(scope["path"]))
            or not _same_origin(Headers(scope=scope))
        ):
            await self.app(scope, receive, send)
            return
        read: list[Message] = []
        body, whole = b"", False
        try:
            async with asyncio.timeout(_PATIENCE):
                while not whole and len(body) <= _MAX_BODY:
                    message = await receive()
                    read.append(message)
                    if message["type"] != "http.request":
                        break
                    body += message.get("body", b"")
                    whole = not message.get("more_body")
        except TimeoutError:
            pass
        if whole and len(body) <= _MAX_BODY:
            scope[_CARRIED] = _fields(body)
        again = iter(read)

        async def replay() -> Message:
            return next(again, None) or await receive()

        await self.app(scope, replay, send)


class KeepQuestion:
    """Keeps a question that arrives without a signed-in session in the visitor's new session, and asks to sign in.

    The token of such a form died with the session, so it stands before the CSRF check, as does the form with which
    an error page sends a question back. It changes nothing but the visitor's own session, and only for requests that
    the browser calls same-origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session, form = scope.get("session"), scope.get(_CARRIED)
        if (
            form is None
            or not isinstance(session, Session)
            or (session.user_id is not None and BACK not in form)
        ):
            await self.app(scope, receive, send)
            return
        there = "/" if session.user_id is not None else "/entrar"
        if kept := _kept(scope["path"], form):
            session[KEPT] = kept
            if session.user_id is None:
                session["notice"] = "Sua sessão expirou. Entre de novo: a sua pergunta está guardada."
        await RedirectResponse(there, 303)(scope, receive, send)


def _fields(body: bytes) -> dict[str, list[str]] | None:
    try:
        return parse_qs(body.decode("utf-8", "replace"), max_num_fields=40)
    except ValueError:  # too many of them: no form of ours
        return None


def _kept(path: str, form: Fields) -> dict[str, Any]:
    """What is shown again, and where; nothing for a form without a question."""
    question = form.get("question", [""])[0].strip()
    if not question:
        return {}
    if path == "/conselhos":
        experts = [each for each in form.get("experts", []) if each.isascii() and each.isdigit()]
        choices = {name: form[name][0][:20] for name in ("persona", "reviewed", "fresh") if name in form}
        return {
            "question": question[:MAX_QUESTION],
            "experts": [each for each in experts if len(each) < 19][: 2 * MAX_EXPERTS],
            "choices": choices,
        }
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
