"""The rows of production: proxies, root_path, bodies, modes of CSRF, policies, logout."""

from __future__ import annotations

import asyncio
from tempfile import TemporaryFile
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from prodkit import Deadline, Runtime, web
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.redis import RedisLink
from prodkit.sessions import MemoryStore, Sessions
from prodkit.web.csrf import CsrfRefused
from prodkit.web.security_headers import CspViolated

SECRET = "made-up-secret-of-more-than-32-characters"
BASE = "https://kit.example"


async def echo(request: Request) -> Response:
    body = await request.body()
    return JSONResponse({"bytes": len(body)})


async def token(request: Request) -> Response:
    return JSONResponse({"token": web.csrf_token(request)})


async def login(request: Request) -> Response:
    web.session_of(request).login("7")
    return PlainTextResponse("in")


async def logout(request: Request) -> Response:
    web.session_of(request).logout()
    return PlainTextResponse("out")


async def where(request: Request) -> Response:
    client = request.client
    return JSONResponse({"client": client and client.host, "url": str(request.url)})


def make(**options: Any) -> Starlette:
    routes = [
        Route("/echo", echo, methods=["GET", "POST"]),
        Route("/token", token),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/where", where),
        Route("/api/health", where),
        Route("/webhook/x", where, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    options.setdefault("sessions", Sessions(MemoryStore(), secret=SECRET))
    web.install(app, **options)
    return app


def test_a_scope_without_headers_is_served() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/nowhere", "query_string": b"", "root_path": ""}
    asyncio.run(make()({**scope, "headers": []}, receive, send))
    asyncio.run(web.SecurityHeadersMiddleware(make())(scope, receive, send))  # type: ignore[arg-type]
    assert [message["status"] for message in sent if "status" in message] == [404, 404]


@pytest.mark.parametrize("root", ["", "/app"])
def test_root_path_is_not_part_of_skip_and_exempt(root: str) -> None:
    app = make(
        csrf_exempt=["/webhook/"],
        limiter=RateLimiter(RedisLink(None)),
        limits=[Limit("2/h", name="all")],
        csp_report_path="/csp",
    )
    client = TestClient(app, base_url=BASE, root_path=root)
    assert client.post(root + "/webhook/x").status_code == 200
    assert [client.get(root + "/api/health").status_code for _ in range(5)] == [200] * 5
    report = {"content-type": "application/csp-report"}
    assert client.post(root + "/csp", content=b"{}", headers=report).status_code == 204
    assert [client.get(root + "/where").status_code for _ in range(2)] == [200, 429]


def test_behind_a_proxy_each_visitor_has_a_limit_and_https_is_https() -> None:
    app = make(
        trusted_proxies=["10.0.0.0/8", "2001:db8::/32"],
        limiter=RateLimiter(RedisLink(None)),
        limits=[Limit("2/h", name="all")],
    )
    proxy = TestClient(app, base_url="http://internal:8000", client=("10.1.2.3", 5000))

    def get(visitor: str, client: TestClient = proxy, **more: str) -> Any:
        fields = {"x-forwarded-for": visitor, "x-forwarded-proto": "https", "x-forwarded-host": "kit.example"}
        return client.get("/where", headers={**fields, **more})

    first = get("203.0.113.1")
    assert first.json() == {"client": "203.0.113.1", "url": "https://kit.example/where"}
    assert "strict-transport-security" in first.headers
    assert [get("203.0.113.1").status_code for _ in range(2)] == [200, 429]
    assert get("203.0.113.2, 2001:db8::7, 10.9.9.9").json()["client"] == "203.0.113.2"
    assert get("1.1.1.1, 203.0.113.3").json()["client"] == "203.0.113.3"  # what the visitor wrote itself
    assert get("nonsense").json()["client"] == "10.1.2.3"
    assert (
        get("203.0.113.9", **{"x-forwarded-host": "evil.example/path"})
        .json()["url"]
        .startswith("https://internal")
    )
    request_id = get("203.0.113.10", **{"x-request-id": "from-the-proxy"}).headers["x-request-id"]
    assert request_id == "from-the-proxy"
    stranger = TestClient(app, base_url="http://internal:8000", client=("192.0.2.1", 5000))
    spoofed = get("203.0.113.4", stranger, **{"x-request-id": "from-the-proxy"})
    assert spoofed.json() == {"client": "192.0.2.1", "url": "http://internal:8000/where"}
    assert spoofed.headers["x-request-id"] != "from-the-proxy"
    with pytest.raises(ValueError, match="trusted_proxies must be networks"):
        web.ProxyMiddleware(app, trusted=["10.0.0.0/40"])


def test_bodies_have_a_limit() -> None:
    client = TestClient(make(max_body=1000, csrf=False), base_url=BASE)

    def post(size: int, *, chunked: bool) -> int:
        parts = (b"x" * 100 for _ in range(size // 100))
        return int(client.post("/echo", content=parts if chunked else b"x" * size).status_code)

    for chunked in (False, True):
        assert post(1000, chunked=chunked) == 200
        assert post(1100, chunked=chunked) == 413
    body = client.post("/echo", content=b"x" * 1001)
    assert body.headers["content-type"] == "application/problem+json"
    assert "content-security-policy" in body.headers


def token_of(client: TestClient) -> str:
    return str(client.get("/token").json()["token"])


def test_a_token_after_a_large_file_and_in_json() -> None:
    client = TestClient(make(), base_url=BASE)
    token = token_of(client)
    photo = b"x" * 20_000_000
    boundary = b"--b\r\nContent-Disposition: form-data; name="
    raw = boundary + b'"f"; filename="f"\r\n\r\n' + photo + b"\r\n" + boundary + b'"csrf_token"\r\n\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    good = raw + token.encode() + b"\r\n--b--\r\n"
    assert client.post("/echo", content=good, headers=headers).json()["bytes"] == len(good)
    assert client.post("/echo", content=raw + b"wrong\r\n--b--\r\n", headers=headers).status_code == 403
    assert client.post("/echo", json={"csrf_token": token, "a": 1}).status_code == 200
    assert client.post("/echo", json={"csrf_token": "wrong"}).status_code == 403


@pytest.mark.parametrize("token", ["right", "wrong"])
def test_the_file_of_a_large_body_is_closed_with_the_request(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    def opening() -> Any:
        opened.append(TemporaryFile())  # noqa: SIM115 - the test looks whether it is closed
        return opened[-1]

    monkeypatch.setattr("prodkit.web.form.tempfile.TemporaryFile", opening)
    client = TestClient(make(), base_url=BASE)
    boundary = b"--b\r\nContent-Disposition: form-data; name="
    raw = boundary + b'"f"; filename="f"\r\n\r\n' + b"x" * 2_000_000 + b"\r\n" + boundary
    value = token_of(client).encode() if token == "right" else b"wrong"
    body = raw + b'"csrf_token"\r\n\r\n' + value + b"\r\n--b--\r\n"
    answer = client.post("/echo", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == (200 if token == "right" else 403)
    assert [each.closed for each in opened] == [True]


def test_a_bearer_call_without_our_cookies_needs_no_token() -> None:
    client = TestClient(make(), base_url=BASE)
    bearer = {"authorization": "Bearer abc"}
    assert client.post("/echo", headers=bearer).status_code == 200
    assert client.post("/echo", headers={**bearer, "cookie": "theme=dark"}).status_code == 200
    assert client.post("/echo", headers={"authorization": "Basic abc"}).status_code == 403
    assert client.post("/echo", headers={"authorization": "Bearer"}).status_code == 403
    client.post("/login", headers={"x-csrf-token": token_of(client)})
    assert client.post("/echo", headers=bearer).status_code == 403  # a cookie speaks for the visitor


def test_modes() -> None:
    runtime = Runtime()
    seen: list[CsrfRefused] = []
    runtime.events.subscribe(seen.append, CsrfRefused)
    foreign = {"origin": "https://attacker.example"}
    own = {"origin": BASE}
    for mode, expected in (
        ("token", [403, 403]),
        ("headers", [200, 403]),
        ("log", [200, 200]),
        (False, [200, 200]),
    ):
        client = TestClient(make(csrf=mode, runtime=runtime), base_url=BASE)
        statuses = [client.post("/login", headers=each).status_code for each in (own, foreign)]
        assert statuses == expected, mode
    assert [(each.reason, each.enforced) for each in seen] == [
        ("token_missing", True), ("foreign_origin", True), ("foreign_origin", True),
        ("token_missing", False), ("foreign_origin", False),
    ]  # fmt: skip


def test_a_nonce_allows_one_inline_script() -> None:
    async def page(request: Request) -> Response:
        assert web.csp_nonce(request) == web.csp_nonce(request.scope)
        return PlainTextResponse(web.csp_nonce(request))

    app = Starlette(routes=[Route("/", page), Route("/plain", where)])
    web.install(app, csp_report_only="script-src 'none'", csp_report_path="/csp")
    client = TestClient(app, base_url=BASE)
    first, second = client.get("/"), client.get("/")
    assert first.text != second.text
    assert f"script-src 'self' 'nonce-{first.text}'" in first.headers["content-security-policy"]
    assert f"style-src 'self' 'nonce-{first.text}'" in first.headers["content-security-policy"]
    assert (
        f"script-src 'nonce-{first.text}'; report-uri /csp"
        in first.headers["content-security-policy-report-only"]
    )
    assert "nonce" not in client.get("/plain").headers["content-security-policy"]


def test_reports_of_browsers_become_events() -> None:
    runtime = Runtime()
    seen: list[CspViolated] = []
    runtime.events.subscribe(seen.append, CspViolated)
    client = TestClient(make(csp_report_path="/csp", runtime=runtime), base_url=BASE)
    old = {"csp-report": {"document-uri": "https://kit.example/a?token=secret", "blocked-uri": "https://x.example/y?z",
                          "effective-directive": "script-src-elem", "disposition": "report"}}  # fmt: skip
    new = [{"type": "csp-violation", "body": {"documentURL": "https://kit.example/b", "blockedURL": "inline",
                                              "effectiveDirective": "style-src"}}]  # fmt: skip
    assert (
        client.post("/csp", json=old, headers={"content-type": "application/csp-report"}).status_code == 204
    )
    assert (
        client.post("/csp", json=new, headers={"content-type": "application/reports+json"}).status_code == 204
    )
    assert [(e.directive, e.blocked, e.page, e.enforced) for e in seen] == [
        ("script-src-elem", "https://x.example", "/a", False), ("style-src", "inline", "/b", True),
    ]  # fmt: skip
    for odd in (b"", b"[]", b"{}", b"[1]", b'{"csp-report": 1}', b"[" * 9000, b"\xff"):
        kind = {"content-type": "application/csp-report"}
        assert client.post("/csp", content=odd, headers=kind).status_code == 204, odd
    assert client.post("/csp", content=b"x" * 20_000, headers=kind).status_code == 413
    assert client.post("/csp", content=b"x", headers={"content-type": "text/plain"}).status_code == 415
    assert len(seen) == 2


def test_a_logout_clears_the_browsers_data_and_hsts_may_cover_subdomains() -> None:
    client = TestClient(make(hsts_subdomains=True), base_url=BASE)
    headers = {"x-csrf-token": token_of(client)}
    response = client.post("/login", headers=headers)
    assert "clear-site-data" not in response.headers
    assert response.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    assert response.headers["x-permitted-cross-domain-policies"] == "none"
    response = client.post("/logout", headers={"x-csrf-token": token_of(client)})
    assert response.headers["clear-site-data"] == '"cache", "storage"'


def test_a_foreign_wait_ends_at_the_deadline_and_a_response_that_has_begun_does_not() -> None:
    cancelled: list[bool] = []

    async def sleepy(_: Request) -> Response:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return PlainTextResponse("late")

    async def stream(_: Request) -> Response:
        async def body() -> Any:
            yield b"a"
            await asyncio.sleep(0.2)
            yield b"b"

        return StreamingResponse(body())

    async def remaining(_: Request) -> Response:
        current = Deadline.current()
        return PlainTextResponse("none" if current is None else f"{current.remaining():.3f}")

    routes = [Route("/sleepy", sleepy), Route("/stream", stream), Route("/remaining", remaining)]
    app = Starlette(routes=routes)
    web.install(app, deadline=0.1)
    client = TestClient(app)
    response = client.get("/sleepy")
    assert (response.status_code, cancelled) == (504, [True])
    assert response.json()["code"] == "timeout"
    assert client.get("/stream").text == "ab"
    trusting = Starlette(routes=routes)
    web.install(trusting, trusted_proxies=["10.0.0.1"])
    peer = TestClient(trusting, client=("10.0.0.1", 1))
    assert peer.get("/remaining").text == "none"
    assert 0 < float(peer.get("/remaining", headers={"x-deadline-ms": "1500"}).text) <= 1.5
    for odd in ("nan", "inf", "x", "", "-5"):
        assert peer.get("/remaining", headers={"x-deadline-ms": odd}).status_code in (200, 504)
    assert peer.get("/sleepy", headers={"x-deadline-ms": "50"}).status_code == 504
    other = TestClient(trusting, client=("10.0.0.2", 1))
    assert other.get("/remaining", headers={"x-deadline-ms": "1500"}).text == "none"


def test_while_draining_every_answer_closes_its_connection() -> None:
    drain = web.Drain()
    client = TestClient(make(drain=drain), base_url=BASE)
    assert "connection" not in client.get("/where").headers
    drain.begun = True
    for path in ("/where", "/nowhere", "/api/health"):
        assert client.get(path).headers["connection"] == "close"


@pytest.mark.parametrize("given", ["the balancer", ("10.0.0.0/8", "nonsense")])
def test_proxies_are_checked_when_the_app_is_built_not_at_the_first_request(given: Any) -> None:
    with pytest.raises(ValueError, match=r"max_body.*trusted_proxies must be networks"):
        web.install(Starlette(), trusted_proxies=given, max_body=-1)
