"""A small app with everything installed, as a browser and as curl see it."""

import json
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from prodkit import DatabaseError, Deadline, Health, Runtime, errors, web
from prodkit.progress import Progress
from prodkit.sessions import MemoryStore, Sessions
from prodkit.web.errors import RequestFailed

SECRET = "made-up-secret-of-more-than-32-characters"
HEADERS = (
    "content-security-policy", "x-content-type-options", "referrer-policy", "x-frame-options", "x-request-id",
)  # fmt: skip


async def form(request: Request) -> Response:
    return HTMLResponse(web.csrf_token(request))


async def login(request: Request) -> Response:
    async with request.form() as fields:
        web.session_of(request).login(str(fields["user"]))
    return Response("in")


async def logout(request: Request) -> Response:
    web.session_of(request).logout()
    return Response("out")


async def me(request: Request) -> Response:
    return JSONResponse({"user": web.session_of(request).user_id})


async def upload(request: Request) -> Response:
    async with request.form() as fields:
        photo: Any = fields["photo"]
        return Response(str(len(await photo.read())))


async def echo(request: Request) -> Response:
    return JSONResponse(await request.json())


async def fail(request: Request) -> Response:
    name = request.path_params["kind"]
    if name == "bug":
        raise RuntimeError("postgres://u:made-up-password@db/x")
    if name == "file":
        raise errors.InvalidFileError("bad", problems=(errors.FileProblem("too_large", "5 MiB no máximo"),))
    kinds: dict[str, type[errors.ProdkitError]] = {
        "database": DatabaseError, "pool": errors.PoolExhaustedError, "limit": errors.RateLimitedError,
        "slow": errors.DeadlineExceededError, "session": errors.InvalidSessionError, "drain": errors.DrainingError,
        "input": errors.InvalidError,
    }  # fmt: skip
    raise kinds[name]("internal words", retry_after=61 if name == "limit" else None)


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(str(web.session_of(socket).user_id))
    await socket.close()


def make(*, secure: bool = True, store: MemoryStore | None = None, **options: Any) -> Starlette:
    app = Starlette(
        routes=[
            Route("/form", form),
            Route("/login", login, methods=["POST"]),
            Route("/logout", logout, methods=["POST"]),
            Route("/me", me),
            Route("/upload", upload, methods=["POST"]),
            Route("/echo", echo, methods=["POST", "GET"]),
            Route("/fail/{kind}", fail),
            Route("/hook", echo, methods=["POST"]),
            WebSocketRoute("/talk", talk),
            *web.health_routes(Health()),
        ]
    )
    accounts = Sessions(store or MemoryStore(), secret=SECRET, secure=secure)
    web.install(app, sessions=accounts, csrf_exempt="/hook", **options)
    return app


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(make(), base_url="https://kit.example", raise_server_exceptions=False) as found:
        yield found


def sign_in(client: TestClient, user: str = "7") -> None:
    token = client.get("/form").text
    assert client.post("/login", data={"csrf_token": token, "user": user}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/form", 200), ("/nowhere", 404), ("/login", 405), ("/fail/bug", 500), ("/fail/limit", 429),
     ("/fail/database", 503), ("/api/health", 200)],
)  # fmt: skip
def test_every_response_has_the_security_headers(client: TestClient, path: str, status: int) -> None:
    response = client.get(path)
    assert response.status_code == status
    assert not [name for name in HEADERS if name not in response.headers]
    assert "unsafe-inline" not in response.headers["content-security-policy"]
    assert response.headers["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in client.get("http://kit.example" + path).headers


def test_a_refusal_has_them_too(client: TestClient) -> None:
    response = client.post("/echo", json={})
    assert response.status_code == 403
    assert not [name for name in HEADERS if name not in response.headers]


def test_the_cookie_in_production(client: TestClient) -> None:
    token = client.get("/form").text
    header = client.post("/login", data={"csrf_token": token, "user": "7"}).headers["set-cookie"]
    assert header.startswith("__Host-session=")
    for flag in ("HttpOnly", "Secure", "SameSite=Lax", "Path=/"):
        assert flag in header
    assert "domain" not in header.lower()


def test_the_id_changes_at_login_and_is_dead_after_logout(client: TestClient) -> None:
    sign_in(client)
    first = client.cookies["__Host-session"]
    sign_in(client)
    second = client.cookies["__Host-session"]
    assert first != second
    other = TestClient(client.app, base_url="https://kit.example")
    assert other.get("/me", headers={"cookie": f"__Host-session={second}"}).json() == {"user": "7"}
    token = client.get("/form").text
    response = client.post("/logout", data={"csrf_token": token})
    assert "Max-Age=0" in response.headers["set-cookie"]
    for dead in (first, second):
        assert other.get("/me", headers={"cookie": f"__Host-session={dead}"}).json() == {"user": None}


def test_what_depends_on_the_session_is_not_cached(client: TestClient) -> None:
    sign_in(client)
    response = client.get("/me")
    assert response.headers["cache-control"] == "no-store"
    assert "Cookie" in response.headers["vary"]
    assert "set-cookie" not in response.headers  # an unchanged id is not sent again


def test_tokens_of_forms_headers_and_uploads(client: TestClient) -> None:
    sign_in(client)
    token = client.get("/form").text
    assert client.post("/echo", json={"a": 1}, headers={"x-csrf-token": token}).json() == {"a": 1}
    files = {"photo": ("eu.png", b"x" * 300_000, "image/png")}
    assert client.post("/upload", data={"csrf_token": token}, files=files).text == "300000"
    assert client.post("/logout", data={"csrf_token": token}).status_code == 200


@pytest.mark.parametrize("how", ["none", "wrong", "other session", "visitor", "after logout"])
@pytest.mark.parametrize("kind", ["json", "form", "multipart"])
def test_a_bad_token_is_refused_alike(client: TestClient, how: str, kind: str) -> None:
    visitor = client.get("/form").text
    sign_in(client)
    with TestClient(client.app, base_url="https://kit.example") as other:
        sign_in(other, "8")
        foreign = other.get("/form").text
    mine = client.get("/form").text
    if how == "after logout":
        client.post("/logout", data={"csrf_token": mine})
        sign_in(client)
    token = {
        "none": None,
        "wrong": "x" * 64,
        "other session": foreign,
        "visitor": visitor,
        "after logout": mine,
    }[how]
    if kind == "json":
        response = client.post("/echo", json={}, headers={"x-csrf-token": token} if token else {})
    elif kind == "form":
        response = client.post("/logout", data={"csrf_token": token} if token else {"a": "b"})
    else:
        fields = {"csrf_token": token} if token else {"a": "b"}
        response = client.post("/upload", data=fields, files={"photo": ("a", b"x")})
    assert response.status_code == 403
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["title"] == "Request refused"
    assert "reason" not in response.json()  # an attacker learns nothing
    assert {"Origin", "Sec-Fetch-Site"} <= set(response.headers["vary"].split(", "))


def test_a_foreign_origin_is_refused_even_with_the_token(client: TestClient) -> None:
    sign_in(client)
    token = client.get("/form").text
    for headers in (
        {"origin": "https://attacker.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "origin": "https://attacker.example"},
        {"referer": "https://attacker.example/page"},
        {"sec-fetch-site": "same-site", "origin": "https://sub.kit.example"},
    ):
        response = client.post("/echo", json={}, headers={"x-csrf-token": token, **headers})
        assert response.status_code == 403, headers
    good = {"x-csrf-token": token, "sec-fetch-site": "same-origin", "origin": "https://kit.example"}
    assert client.post("/echo", json={}, headers=good).status_code == 200


def test_a_visitor_without_session_needs_a_token_of_theirs_to_log_in(client: TestClient) -> None:
    assert client.post("/login", data={"user": "7"}).status_code == 403
    with TestClient(client.app, base_url="https://kit.example") as attacker:
        planted = attacker.get("/form").text
    client.get("/form")
    assert client.post("/login", data={"user": "7", "csrf_token": planted}).status_code == 403


def test_a_visitor_keeps_one_cookie_over_many_forms(client: TestClient) -> None:
    first = client.get("/form")
    second = client.get("/form")
    assert "set-cookie" in first.headers
    assert "set-cookie" not in second.headers
    assert client.post("/login", data={"user": "7", "csrf_token": first.text}).status_code == 200


def test_what_a_failed_request_wrote_is_not_kept_but_its_logout_is() -> None:
    async def count(request: Request) -> Response:
        session = web.session_of(request)
        session["n"] = session.get("n", 0) + 1
        return Response(str(session["n"]), int(request.query_params.get("status", 200)))

    async def leave(request: Request) -> Response:
        web.session_of(request).logout()
        raise RuntimeError("after the logout")

    app = make()
    app.router.routes += [Route("/count", count), Route("/leave", leave)]
    with TestClient(app, base_url="https://kit.example", raise_server_exceptions=False) as client:
        sign_in(client)
        assert [client.get(f"/count?status={s}").text for s in (200, 500, 503, 404, 200)] == [
            "1",
            "2",
            "2",
            "2",
            "3",
        ]
        cookie = client.cookies["__Host-session"]
        assert client.get("/leave").status_code == 500
        assert client.get("/me", headers={"cookie": f"__Host-session={cookie}"}).json() == {"user": None}


def test_exempt_paths_take_what_carries_its_own_proof(client: TestClient) -> None:
    assert client.post("/hook", json={"a": 1}).json() == {"a": 1}


def test_odd_tokens_and_bodies_are_a_403_and_never_a_500(client: TestClient) -> None:
    dice = random.Random(41)
    bodies: list[tuple[str, bytes]] = [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"--\r\n"),
        ("multipart/form-data; boundary=" + "b" * 5000, b"x"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\nabc',
        ),
        ("multipart/form-data; boundary=b", b"--b\r\n: \r\n\r\n\xff\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"A" * 100_000),
        ("application/x-www-form-urlencoded", b"csrf_token=%ff%fe&csrf_token=%00"),
        ("application/x-www-form-urlencoded", b"&" * 100_000),
        ("application/x-www-form-urlencoded", b"a=1&" * 2000),
        ("application/x-www-form-urlencoded", b"a=" + b"x" * 2_000_000),
        ("application/json", b"{"),
        ("", b"csrf_token=x"),
        ("\xff", b""),
    ]
    for _ in range(1000):
        junk = dice.randbytes(dice.randint(0, 90))
        bodies.append(("multipart/form-data; boundary=b", b"--b\r\n" + junk))
    for kind, body in bodies:
        response = client.post("/echo", content=body, headers={b"content-type": kind.encode("latin-1")})
        assert response.status_code == 403, (kind, body[:80])
    for _ in range(1000):
        token = bytes(
            dice.choice([*range(33, 127), *range(128, 256)])
            for _ in range(dice.choice([1, 8, 63, 64, 65, 300]))
        )
        response = client.post("/echo", json={}, headers={b"x-csrf-token": token})
        assert response.status_code == 403, token


@pytest.mark.parametrize(
    ("kind", "status", "retry"),
    [("database", 503, 5), ("pool", 503, 5), ("drain", 503, 5), ("limit", 429, 61), ("slow", 504, None),
     ("session", 401, None), ("input", 422, None), ("file", 422, None), ("bug", 500, None)],
)  # fmt: skip
def test_errors_are_problems_without_internal_words(
    client: TestClient, kind: str, status: int, retry: int | None
) -> None:
    response = client.get(f"/fail/{kind}")
    assert response.status_code == status
    body = response.json()
    assert body["status"] == status
    assert body["request_id"] == response.headers["x-request-id"]
    assert "internal words" not in response.text
    assert "made-up-password" not in response.text
    assert response.headers.get("retry-after") == (None if retry is None else str(retry))
    if kind == "limit":
        assert body["detail"].endswith("Try again in 2 minutes.")
    if kind == "file":
        assert body["problems"] == [{"code": "too_large", "message": "5 MiB no máximo"}]


def test_the_reader_chooses_the_language(client: TestClient) -> None:
    assert client.get("/nowhere").json()["title"] == "Not found"
    portuguese = client.get("/nowhere", headers={"accept-language": "fr, en;q=0.5, pt;q=0.8"})
    assert portuguese.json()["title"] == "Página não encontrada"
    assert portuguese.headers["content-language"] == "pt-BR"
    app = make(problems=web.Problems(language="pt-BR"))
    assert TestClient(app).get("/nowhere", headers={"accept-language": "fr"}).json()["status"] == 404
    assert (
        TestClient(app).get("/nowhere", headers={"accept-language": "fr"}).headers["content-language"]
        == "pt-BR"
    )


def test_people_get_a_page_and_a_broken_page_is_no_second_error() -> None:
    def page(problem: web.Problem, _: Any) -> str:
        if problem.status == 404:
            raise LookupError("no template")
        return f"<h1>{problem.title}</h1>"

    app = make(problems=web.Problems(html=page))
    client = TestClient(app, base_url="https://kit.example", raise_server_exceptions=False)
    browser = {"accept": "text/html,application/xhtml+xml"}
    assert client.get("/fail/database", headers=browser).text == "<h1>Service unavailable</h1>"
    assert client.post("/echo", json={}, headers=browser).text == "<h1>Request refused</h1>"
    assert client.get("/fail/database").headers["content-type"] == "application/problem+json"
    assert client.get("/nowhere", headers=browser).json()["status"] == 404


def test_a_bug_reaches_the_servers_log() -> None:
    with pytest.raises(RuntimeError, match="made-up"):
        TestClient(make(), base_url="https://kit.example").get("/fail/bug")


def test_failures_emit_events() -> None:
    runtime = Runtime()
    told: list[tuple[int, str]] = []
    runtime.events.subscribe(lambda e: told.append((e.status, e.error)), RequestFailed)
    client = TestClient(make(problems=web.Problems(runtime=runtime)), base_url="https://kit.example")
    client.get("/fail/database")
    client.post("/echo", json={})
    assert told == [(503, "DatabaseError"), (403, "CsrfError")]


class BrokenStore(MemoryStore):
    async def load(self, key: bytes) -> Any:
        raise DatabaseError("away")


def test_a_store_that_is_down_is_a_503_only_for_requests_with_a_cookie() -> None:
    broken = TestClient(make(store=BrokenStore()), base_url="https://kit.example")
    assert broken.get("/me").json() == {"user": None}
    cookie = Sessions(MemoryStore(), secret=SECRET).cookie.write("a" * 43, max_age=1).split(";")[0]
    response = broken.get("/me", headers={"cookie": cookie})
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert (
        broken.get("/api/health", headers={"cookie": cookie}).status_code == 200
    )  # health depends on no session


def test_on_plain_http_the_names_are_plain() -> None:
    with TestClient(make(secure=False), base_url="http://127.0.0.1") as client:
        sign_in(client)
        assert set(client.cookies) == {"session", "visitor"}


def test_a_foreign_page_cannot_open_a_socket(client: TestClient) -> None:
    sign_in(client)
    with client.websocket_connect(
        "wss://kit.example/talk", headers={"origin": "https://kit.example"}
    ) as socket:
        assert socket.receive_text() == "7"
    with (
        pytest.raises(WebSocketDisconnect) as caught,
        client.websocket_connect("wss://kit.example/talk", headers={"origin": "https://attacker.example"}),
    ):
        pass
    assert caught.value.code == 1008


def test_request_ids() -> None:
    given = {"x-request-id": "trace-0123456789"}
    assert (
        TestClient(make(), base_url="https://h").get("/me", headers=given).headers["x-request-id"]
        != given["x-request-id"]
    )
    trusting = TestClient(make(trust_request_id=True), base_url="https://h")
    assert trusting.get("/me", headers=given).headers["x-request-id"] == "trace-0123456789"
    for odd in ("short", "a" * 65, "with space 123", "x;y=12345678"):
        assert trusting.get("/me", headers={"x-request-id": odd}).headers["x-request-id"] != odd


def test_a_route_keeps_its_own_policy() -> None:
    async def special(_: Request) -> Response:
        return Response("x", headers={"Content-Security-Policy": "default-src 'self'"})

    app = Starlette(routes=[Route("/", special)])
    web.install(app)
    assert TestClient(app).get("/").headers["content-security-policy"] == "default-src 'self'"


def test_writing_after_the_response_began() -> None:
    """Writes made during a stream are kept; a first session would be lost, so it is refused with an error."""
    from starlette.responses import StreamingResponse

    async def stream(request: Request) -> Response:
        async def body() -> Any:
            yield b"a"
            request.session["seen"] = request.session.get("seen", 0) + 1
            yield b"b"

        return StreamingResponse(body())

    app = make()
    app.router.routes.append(Route("/stream", stream))
    with TestClient(app, base_url="https://kit.example") as client:
        with pytest.raises(RuntimeError, match="the response had begun"):
            client.get("/stream")
        sign_in(client)
        client.get("/stream")
        assert json.loads(client.get("/me").text) == {"user": "7"}


def test_a_request_has_one_deadline_and_a_stream_leaves_it_behind() -> None:
    seen: list[bool] = []

    async def slow(_: Request) -> Response:
        seen.append(Deadline.current() is not None)
        deadline = Deadline.current()
        assert deadline is not None
        assert 0 < deadline.remaining() <= 7
        raise errors.DeadlineExceededError("too late")

    async def events(_: Request) -> Response:
        async def source() -> AsyncIterator[Progress]:
            seen.append(Deadline.current() is not None)
            yield Progress(1, "x", None)

        return web.EventStream(source())

    app = Starlette(routes=[Route("/slow", slow), Route("/events", events)])
    web.install(app, deadline=7)
    client = TestClient(app)
    assert client.get("/slow").status_code == 504
    assert client.get("/events").text.endswith("id: 1\nevent: x\ndata: null\n\n")
    assert seen == [True, False]
    with pytest.raises(ValueError, match="seconds must be a number"):
        web.DeadlineMiddleware(app, seconds=0)


def test_fastapi_is_served_alike() -> None:
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()
    accounts = Sessions(MemoryStore(), secret=SECRET)
    web.install(app, sessions=accounts)

    @app.get("/form")
    def token(request: fastapi.Request) -> str:  # a sync route runs in a thread
        return web.csrf_token(request)

    @app.post("/login")
    def enter(request: fastapi.Request, user: str) -> dict[str, str]:
        web.session_of(request).login(user)
        return {"user": user}

    @app.get("/me")
    async def who(request: fastapi.Request) -> dict[str, Any]:
        return {"user": web.session_of(request).user_id}

    @app.get("/stop")
    async def stop() -> None:
        raise fastapi.HTTPException(409, "já existe")

    client = TestClient(app, base_url="https://kit.example")
    headers = {"x-csrf-token": client.get("/form").json()}
    assert client.post("/login?user=7").status_code == 403
    assert client.post("/login?user=7", headers=headers).status_code == 200
    assert client.get("/me").json() == {"user": "7"}
    assert client.get("/stop").json()["detail"] == "já existe"
    assert client.get("/stop").status_code == 409
    assert client.get("/nowhere").headers["content-type"] == "application/problem+json"
