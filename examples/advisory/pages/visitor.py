"""The visitor behind a request."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse

from advisory.services import services
from advisory.store.users import User
from prodkit import web
from prodkit.sessions import Session
from prodkit.sessions.session import digest

__all__ = [
    "SignInNeeded",
    "client_address",
    "current_user",
    "handle_of",
    "is_operator",
    "log_in",
    "redirect",
    "safe_next",
    "session_of",
    "signed_in",
]


class SignInNeeded(Exception):  # noqa: N818 - not a failure: the handler shows the way
    """The page needs a signed-in visitor."""


def session_of(request: Request) -> Session:
    """The visitor's session, empty for a new one."""
    found = request.scope["session"]
    assert isinstance(found, Session)
    return found


def log_in(request: Request, user: User) -> None:
    """Make the visitor's session that of `user`, under a new id."""
    session = session_of(request)
    session.login(str(user.id))
    session["name"] = user.name


def handle_of(session: Session) -> str:
    """The handle under which the list of sessions names this one."""
    return "" if session.id is None else digest(session.id).hex()


async def current_user(request: Request) -> User | None:
    """The account behind the session; looked up once a request, and not at all for visitors without one."""
    if not hasattr(request.state, "user"):
        user_id = session_of(request).user_id
        request.state.user = await services(request).users.get(int(user_id)) if user_id else None
    found: User | None = request.state.user
    return found


async def signed_in(request: Request) -> User:
    """For handlers: the user, or the way to the sign-in page."""
    user = await current_user(request)
    if user is None:
        raise SignInNeeded
    return user


async def is_operator(request: Request) -> bool:
    """Return True for the demo's own user, who may see the console. A deployment's operators use its token."""
    app, user = services(request), await current_user(request)
    return app.demo is not None and user is not None and app.demo.is_demo_user(user)


def redirect(path: str) -> RedirectResponse:
    """See other: a reload of the next page sends nothing twice."""
    return RedirectResponse(path, 303)


def sign_in_path(request: Request) -> str:
    query = f"?{request.url.query}" if request.url.query else ""
    back = f"{request.url.path}{query}" if request.method == "GET" else "/"
    return "/entrar" if back == "/" else f"/entrar?proxima={quote(back)}"


def safe_next(path: str) -> str:
    """`path` when it is one of ours, else the home page: a link to us never leads elsewhere."""
    ours = path.startswith("/") and not path.startswith("//")
    return path if ours and "\\" not in path and path.isprintable() else "/"


def client_address(request: Request) -> str:
    """The peer, or what a trusted proxy said of it (uvicorn reads X-Forwarded-For only from those); IPv6 by /64."""
    return web.client_key(request.scope)
