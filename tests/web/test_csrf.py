"""The CSRF layer at its door: exempt paths, and the origin rows that other frameworks publish for theirs."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from prodkit import web
from prodkit.sessions import CsrfTokens, Keys

SECRET = "made-up-secret-of-more-than-32-characters"


async def ok(request: Request) -> Response:
    return PlainTextResponse("ok")


def client(
    base: str = "https://example.com", *, exempt: tuple[str, ...] = (), **options: object
) -> TestClient:
    app = Starlette(routes=[Route("/{path:path}", ok, methods=["GET", "POST"])])
    tokens = CsrfTokens(Keys([SECRET], purpose="csrf"))
    guarded = web.CsrfMiddleware(app, tokens=tokens, mode="headers", exempt=exempt, **options)  # type: ignore[arg-type]
    return TestClient(guarded, base_url=base)


@pytest.mark.parametrize("site", [None, "cross-site"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/bypass/", 200),
        ("/bypass/below", 200),
        ("/bypass", 403),  # Go redirects it and then allows: a prefix with a slash is a tree here
        ("/api/", 403),
        ("/api", 403),
        ("/only/123", 200),
        ("/only/123/foo", 200),  # Go's pattern has a wildcard for one segment: ours are prefixes
        ("/only", 403),
        ("/bypass-not", 403),
        ("//bypass/", 403),
        ("/api/%2e%2e/bypass/", 403),
        ("/API/..;/bypass/", 403),
    ],
)
def test_exempt_paths(path: str, status: int, site: str | None) -> None:
    headers = {"origin": "https://attacker.example"} | ({} if site is None else {"sec-fetch-site": site})
    found = client(exempt=("/bypass/", "/only/")).post(f"https://example.com{path}", headers=headers)
    assert found.status_code == status


# Facts of Django's own tests: host, scheme of the request, Origin, accepted.
ORIGINS = [
    ("https://www.example.com", "https://www.example.com", 200),
    ("https://www.example.com", "https://evil.example", 403),
    ("https://www.example.com", "null", 403),
    ("https://www.example.com", "http://www.example.com", 403),
    ("https://www.example.com", "https://foo.www.example.com", 403),
    ("https://www.example.com", "https://example.com", 403),
    ("https://www.example.com", "https://www.example.com:443", 200),
    ("https://www.example.com", "https://www.example.com:4443", 403),
    ("https://www.example.com:4443", "https://www.example.com:4443", 200),
    ("https://www.example.com", "https://[", 403),
    ("https://www.example.com", "http://invalid host", 403),
    ("https://www.example.com", "ht^tp://www.example.com", 403),
    ("http://www.example.com", "http://www.example.com", 200),
    ("http://www.example.com", "http://evil.example", 403),
    ("https://www.example.com", "https://ok.trusted.example", 200),
    ("https://www.example.com", "https://deep.ok.trusted.example", 200),
    ("https://www.example.com", "http://ok.trusted.example", 403),
    ("https://www.example.com", "https://trusted.example.evil.example", 403),
]


@pytest.mark.parametrize(("base", "origin", "status"), ORIGINS)
def test_origins(base: str, origin: str, status: int) -> None:
    policy = web.csrf.OriginPolicy(["https://*.trusted.example"])
    found = client(base, policy=policy).post("/form", headers={"origin": origin})
    assert found.status_code == status


# Referers count where neither Origin nor Sec-Fetch-Site arrived. Without one Django refuses; here a token is asked for.
REFERERS = [
    ("https://www.example.com/somepage", 200),
    ("https://www.example.com", 200),
    ("https://www.evil.example/somepage", 403),
    ("http://http://www.example.com/", 403),
    ("https://", 403),
    ("https:///path", 403),
    ("https://[2001:db8:85a3", 403),
    ("https://www.example.com.evil.example/", 403),
    ("https://ok.trusted.example/page", 200),
]


@pytest.mark.parametrize(("referer", "status"), REFERERS)
def test_referers(referer: str, status: int) -> None:
    policy = web.csrf.OriginPolicy(["https://*.trusted.example"])
    reached = client("https://www.example.com", policy=policy)
    found = reached.post("/form", headers={"referer": referer})
    assert found.status_code == status
