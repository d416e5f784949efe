"""Sessions, CSRF and passwords in a small app: register, log in, log out, and what an attacker gets."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from prodkit import web
from prodkit.sessions import MemoryStore, Passwords, Sessions

accounts = Sessions(MemoryStore(), secret="only-an-example-0123456789-abcdefgh", secure=True)
passwords = Passwords()
users: dict[str, str] = {}


async def form(request: Request) -> Response:
    return PlainTextResponse(web.csrf_token(request))  # a template puts it into a hidden field


async def register(request: Request) -> Response:
    fields = await request.form()
    users[str(fields["name"])] = await passwords.hash(str(fields["password"]))
    return PlainTextResponse("registered")


async def login(request: Request) -> Response:
    fields = await request.form()
    name = str(fields["name"])
    good, newer = await passwords.verify(users.get(name), str(fields["password"]))
    if not good:
        return PlainTextResponse("wrong name or password", 403)
    if newer is not None:
        users[name] = newer
    web.session_of(request).login(name)
    return PlainTextResponse("welcome")


async def logout(request: Request) -> Response:
    web.session_of(request).logout()
    return PlainTextResponse("bye")


async def me(request: Request) -> Response:
    return JSONResponse({"user": web.session_of(request).user_id})


routes = [Route("/form", form), Route("/me", me)]
routes += [Route(f"/{each.__name__}", each, methods=["POST"]) for each in (register, login, logout)]
app = Starlette(routes=routes)
web.install(app, sessions=accounts)

with TestClient(app, base_url="https://kit.example") as browser:
    token = browser.get("/form").text
    person = {"name": "ana", "password": "correto cavalo bateria", "csrf_token": token}
    browser.post("/register", data=person)
    assert browser.post("/login", data={**person, "password": "chute"}).status_code == 403
    assert browser.post("/login", data=person).text == "welcome"
    stolen = browser.cookies["__Host-session"]
    print("signed in:", browser.get("/me").json())

    forged = browser.post("/logout", headers={"origin": "https://attacker.example"})
    print("a foreign page:", forged.status_code, forged.json()["title"])

    browser.post("/logout", headers={"x-csrf-token": browser.get("/form").text})
    replay = browser.get("/me", headers={"cookie": f"__Host-session={stolen}"})
    print("the old cookie after logout:", replay.json())
    assert replay.json() == {"user": None}
passwords.close()
