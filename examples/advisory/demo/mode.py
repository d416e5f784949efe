"""Demo mode: the first visit is signed in.

Why that is safe. It exists only in the process that ``python -m advisory demo`` starts, which listens on loopback
and refuses any other address. It answers only requests whose peer is this machine and whose Host names it (a page
elsewhere that points its own name at 127.0.0.1 has another Host), and never one that the browser calls cross-site.
The account holds nothing but what visitors of the demo typed, and its password is random and not kept. Who signs out
stays signed out, to see registration and sign-in, until the browser is closed.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from advisory.demo.data import PREPARED_QUESTION
from advisory.pages.visitor import log_in
from advisory.store.users import User

if TYPE_CHECKING:
    from advisory.demo.theatre import Theatre
    from advisory.mail import Outbox

__all__ = ["DemoMode"]

_LEFT = "demo_saiu"


class DemoMode:
    """The demo's account, and who may use it."""

    prepared_question = PREPARED_QUESTION

    def __init__(self, theatre: Theatre | None = None, outbox: Outbox | None = None) -> None:
        self.user: User | None = None
        self.theatre = theatre
        self.outbox = outbox

    def is_demo_user(self, user: User) -> bool:
        return self.user is not None and user.id == self.user.id

    def may_sign_in(self, request: Request) -> bool:
        """Return True when an unknown visitor becomes the demo's user."""
        return self.user is not None and _LEFT not in request.cookies and self.may_look(request)

    def may_look(self, request: Request) -> bool:
        """Return True for a request from this very machine, by its own name, and not sent by another site."""
        return (
            request.client is not None
            and _loopback(request.client.host)
            and _loopback(request.url.hostname or "")
            and request.headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        )

    def sign_in(self, request: Request) -> None:
        assert self.user is not None
        log_in(request, self.user)

    def remember_leaving(self, response: Response) -> None:
        response.set_cookie(_LEFT, "1", httponly=True, samesite="lax")


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
