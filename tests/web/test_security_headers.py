"""The headers of every response: defaults, a route's own, https, nonces, policies of single paths."""

from __future__ import annotations

from typing import Any

import pytest

from prodkit.web import SecurityHeadersMiddleware, csp_nonce

CSP = "content-security-policy"


async def answered(
    *, scheme: str = "https", path: str = "/", own: Any = (), nonce: bool = False, **options: Any
) -> tuple[dict[str, str], str]:
    """Return the headers of a response, and its nonce where the page asked for one."""
    sent: list[Any] = []
    made: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if nonce:
            made.append(csp_nonce(scope))
            assert csp_nonce(scope) == made[0]
        await send({"type": "http.response.start", "status": 200, "headers": list(own)})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "scheme": scheme, "path": path, "headers": []}
    await SecurityHeadersMiddleware(app, **options)(scope, send, send)
    pairs = [(name.decode().lower(), value.decode()) for name, value in sent[0]["headers"]]
    assert len(dict(pairs)) == len(pairs), "a header stands twice"
    return dict(pairs), "".join(made)


async def test_the_defaults_allow_nothing_inline_and_no_frame() -> None:
    headers, _ = await answered()
    assert "default-src 'none'" in headers[CSP]
    assert "frame-ancestors 'none'" in headers[CSP]
    assert "unsafe" not in headers[CSP]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, "max-age=31536000"),
        ({"hsts": 60, "hsts_subdomains": True}, "max-age=60; includeSubDomains"),
        ({"hsts": 0}, None),
        ({"scheme": "http"}, None),  # a browser ignores it there
        ({"extra": {"Strict-Transport-Security": "max-age=1"}, "scheme": "http"}, "max-age=1"),
    ],
)
async def test_hsts(options: dict[str, Any], value: str | None) -> None:
    headers, _ = await answered(**options)
    assert headers.get("strict-transport-security") == value


async def test_a_route_keeps_its_own_header_in_any_case() -> None:
    headers, _ = await answered(own=[(b"X-Frame-Options", b"SAMEORIGIN")])
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["x-content-type-options"] == "nosniff"


async def test_headers_are_added_and_removed() -> None:
    headers, _ = await answered(extra={"X-Team": "a", "X-Frame-Options": None})
    assert headers["x-team"] == "a"
    assert "x-frame-options" not in headers


async def test_a_nonce_stands_in_the_policy_of_its_response_only() -> None:
    first, one = await answered(nonce=True)
    second, other = await answered(nonce=True)
    assert one != other
    assert f"script-src 'self' 'nonce-{one}'" in first[CSP]
    assert f"style-src 'self' 'nonce-{one}'" in first[CSP]
    assert one not in second[CSP]
    without, _ = await answered()
    assert "nonce" not in without[CSP]


async def test_a_nonce_takes_the_place_of_none_and_leaves_unsafe_inline_alone() -> None:
    headers, nonce = await answered(nonce=True, csp="script-src 'none'")
    assert headers[CSP] == f"script-src 'nonce-{nonce}'"
    headers, _ = await answered(nonce=True, csp="script-src 'unsafe-inline'")
    assert headers[CSP] == "script-src 'unsafe-inline'"


async def test_a_path_has_its_own_policy() -> None:
    paths = {"/docs": "default-src 'self'"}
    headers, _ = await answered(csp_paths=paths, path="/docs")
    assert headers[CSP] == "default-src 'self'"
    headers, _ = await answered(csp_paths=paths, path="/docs/x")
    assert headers[CSP] != "default-src 'self'"


async def test_a_stricter_policy_on_trial_is_reported() -> None:
    headers, _ = await answered(csp="a", csp_report_only="b", csp_report_path="/csp")
    assert headers[CSP] == "a; report-uri /csp"
    assert headers[f"{CSP}-report-only"] == "b; report-uri /csp"


def test_all_bad_options_are_in_one_error() -> None:
    async def app(*_: Any) -> None:
        return None

    with pytest.raises(ValueError, match="hsts") as caught:
        SecurityHeadersMiddleware(app, hsts=-1, csp_report_path="csp", extra={"x-a": "1\r\nset-cookie: b"})
    assert "csp_report_path" in str(caught.value)
    assert "x-a must be one line" in str(caught.value)
