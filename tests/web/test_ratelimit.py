from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from prodkit import web
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.redis import RedisLink


async def home(_: Request) -> Response:
    return Response("ok")


def make(limiter: Any, **options: Any) -> Starlette:
    app = Starlette(
        routes=[Route("/", home), Route("/api/health", home), Route("/login", home, methods=["POST"])]
    )
    web.install(app, limiter=limiter, **options)
    return app


def test_the_limit_holds_per_client_and_says_when_to_come_back() -> None:
    app = make(RateLimiter(RedisLink(None)), limits=[Limit("3/10 min", name="all")])
    one, two = TestClient(app, client=("203.0.113.1", 1)), TestClient(app, client=("203.0.113.2", 1))
    assert [one.get("/").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = one.get("/")
    assert 1 <= int(refused.headers["retry-after"]) <= 600
    assert refused.json()["detail"].endswith("Try again in 10 minutes.")
    assert "content-security-policy" in refused.headers
    assert two.get("/").status_code == 200
    assert one.get("/api/health").status_code == 200


def test_it_can_guard_one_path() -> None:
    app = Starlette(routes=[Route("/", home), Route("/login", home, methods=["POST"])])
    app.add_middleware(
        web.RateLimitMiddleware,
        limiter=RateLimiter(RedisLink(None)),
        limits=[Limit("1/h", name="l")],
        only="/login",
    )
    client = TestClient(app)
    assert [client.post("/login").status_code for _ in range(2)] == [200, 429]
    assert client.get("/").status_code == 200


def test_a_limiter_that_must_not_guess_is_a_503() -> None:
    link = RedisLink("redis://127.0.0.1:1")
    app = make(RateLimiter(link), limits=[Limit("3/h", name="x", on_outage="deny")])
    response = TestClient(app).get("/")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["title"] == "Service unavailable"


def test_one_route_says_what_was_too_much() -> None:
    limiter = RateLimiter(RedisLink(None))
    council = Limit(
        "10/hour", name="council", texts={"pt-BR": "Chega de consultas.", "en": "No more questions for now."}
    )

    async def ask(request: Request) -> Response:
        decision = await web.enforce(limiter, (council, "user 7"))
        return Response(str(decision.remaining))

    app = Starlette(routes=[Route("/", ask)])
    web.install(app)
    client = TestClient(app)
    assert [client.get("/").text for _ in range(10)] == [str(n) for n in reversed(range(10))]
    refused = client.get("/")
    assert refused.status_code == 429
    assert refused.json()["detail"] == "No more questions for now. Try again in 1 hour."
    assert refused.headers["retry-after"] == "3600"
    assert refused.headers["ratelimit"].startswith('"council";r=0')
    portuguese = client.get("/", headers={"accept-language": "pt-BR"}).json()
    assert portuguese["detail"] == "Chega de consultas. Tente novamente em 1 hora."


def test_the_remaining_quota_is_in_headers_except_on_redirects() -> None:
    async def move(_: Request) -> Response:
        return RedirectResponse("/")

    app = Starlette(routes=[Route("/", home), Route("/move", move)])
    web.install(app, limiter=RateLimiter(RedisLink(None)), limits=[Limit("3/h", name="all")])
    client = TestClient(app, follow_redirects=False)
    assert client.get("/").headers["ratelimit"].startswith('"all";r=2')
    assert "ratelimit" not in client.get("/move").headers


def test_a_trusted_proxy_speaks_for_its_clients() -> None:
    scope = {"client": ("10.0.0.2", 1), "headers": [(b"x-forwarded-for", b"198.51.100.7, 203.0.113.9")]}
    assert web.client_key(scope) == "10.0.0.2"
    assert web.client_key(scope, trusted_proxies=["10.0.0.0/8"]) == "203.0.113.9"


@pytest.mark.parametrize(
    ("host", "key"),
    [("203.0.113.9", "203.0.113.9"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
     ("::ffff:203.0.113.9", "203.0.113.9"),
     ("testclient", "testclient")],
)  # fmt: skip
def test_the_key_is_what_one_customer_has(host: str, key: str) -> None:
    assert web.client_key({"client": (host, 1), "headers": []}) == key
    assert web.client_key({"client": None, "headers": []}) == "unknown"


def test_no_limits_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one limit"):
        web.RateLimitMiddleware(home, limiter=RateLimiter(RedisLink(None)), limits=[])  # type: ignore[arg-type]


def test_one_body_for_a_refusal() -> None:
    import asyncio

    from prodkit.ratelimit import problem

    limiter, limit = RateLimiter(), Limit("1/h", name="one")
    app = Starlette(routes=[Route("/", home)])
    web.install(app, limiter=limiter, limits=[limit])
    client = TestClient(app, client=("203.0.113.9", 1))
    client.get("/")
    body = client.get("/").json()
    other = asyncio.run(limiter.check((limit, "203.0.113.9")))
    ours = problem(other)
    assert body["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert body["violated-policies"] == ["one"]
    assert {name: body[name] for name in ours if name != "title"} == {
        n: ours[n] for n in ours if n != "title"
    }


def test_head_and_preflights_are_free() -> None:
    app = Starlette(routes=[Route("/", home)])
    app.add_middleware(web.RateLimitMiddleware, limiter=RateLimiter(), limits=[Limit("1/h", name="one")])
    client = TestClient(app)
    for _ in range(3):
        assert client.head("/").status_code == 200
        assert client.options("/").status_code in (200, 405)
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]


def test_websockets_count_when_they_connect_and_by_message() -> None:
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_text(await socket.receive_text())
        except WebSocketDisconnect:
            return

    app = Starlette(routes=[WebSocketRoute("/ws", echo)])
    app.add_middleware(
        web.RateLimitMiddleware,
        limiter=RateLimiter(),
        limits=[Limit("2/h", name="connects")],
        message_limits=[Limit("3/h", name="messages")],
    )
    client = TestClient(app)
    with client.websocket_connect("/ws") as socket:
        for _ in range(3):
            socket.send_text("a")
            assert socket.receive_text() == "a"
        socket.send_text("a")
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_text()
        assert caught.value.code == 1013
    with client.websocket_connect("/ws"):
        pass
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/ws"):
        pass
    assert refused.value.status_code == 429


async def test_after_a_refused_message_a_socket_stays_disconnected() -> None:
    heard: list[str] = []
    sent: list[str] = []
    messages = iter(
        [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": "a"} for _ in range(9))]
    )

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        for number in range(5):
            heard.append((await receive())["type"])
            await send({"type": "websocket.close" if number == 4 else "websocket.send", "text": "b"})

    guarded = web.RateLimitMiddleware(
        app, limiter=RateLimiter(), limits=[Limit("9/h", name="c")], message_limits=[Limit("2/h", name="m")]
    )
    await guarded(
        {"type": "websocket", "path": "/", "headers": [], "client": ("203.0.113.1", 1)}, receive, send
    )
    assert heard == ["websocket.receive"] * 2 + ["websocket.disconnect"] * 3
    assert sent == ["websocket.accept", "websocket.send", "websocket.send", "websocket.close"]


def test_legacy_fields() -> None:
    app = Starlette(routes=[Route("/", home)])
    app.add_middleware(
        web.RateLimitMiddleware, limiter=RateLimiter(), limits=[Limit("3/h", name="all")], legacy_headers=True
    )
    assert TestClient(app).get("/").headers["x-ratelimit-remaining"] == "2"


def test_a_fastapi_dependency() -> None:
    fastapi = pytest.importorskip("fastapi")

    limits = web.RateLimits(RateLimiter(), user=lambda request: request.headers.get("user"))
    app = fastapi.FastAPI()
    web.install(app)

    @app.get("/", dependencies=[fastapi.Depends(limits.per_user("2/h; 5/day"))], responses=limits.responses)
    async def root() -> str:
        return "ok"

    client = TestClient(app)
    answers = [client.get("/", headers={"user": "ana"}) for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert "ratelimit" in answers[0].headers
    assert client.get("/", headers={"user": "bia"}).status_code == 200
    assert client.get("/").status_code == 200
    assert "429" in client.get("/openapi.json").json()["paths"]["/"]["get"]["responses"]
    with pytest.raises(ValueError, match="user="):
        web.RateLimits(RateLimiter()).per_user("1/h")


def test_a_fastapi_dependency_counts_no_head_and_closes_a_socket() -> None:
    fastapi = pytest.importorskip("fastapi")

    limits = web.RateLimits(RateLimiter(), user=lambda connection: connection.headers.get("user"))
    app = fastapi.FastAPI()
    web.install(app)
    dependency = fastapi.Depends(limits.per_user("2/h", name="both"))

    @app.api_route("/", methods=["GET", "HEAD", "OPTIONS"], dependencies=[dependency])
    async def root() -> str:
        return "ok"

    async def greet(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hi")
        await socket.close()

    app.add_api_websocket_route("/ws", greet, dependencies=[dependency])
    client = TestClient(app)
    ana = {"user": "ana"}
    for method in ("HEAD", "OPTIONS"):
        answers = [client.request(method, "/", headers=ana) for _ in range(3)]
        assert [each.status_code for each in answers] == [200] * 3
        assert "r=2" in answers[2].headers["ratelimit"]
    for _ in range(2):
        with client.websocket_connect("/ws", headers=ana) as socket:
            assert socket.receive_text() == "hi"
    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/ws", headers=ana):
        pass
    assert refused.value.code == 1013
    assert client.get("/", headers=ana).status_code == 429
