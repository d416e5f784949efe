from __future__ import annotations

import random

import pytest

from prodkit.sessions import CsrfTokens, Keys, OriginPolicy

SECRET = "made-up-secret-of-more-than-32-characters"

# The decision table that Go documents for http.CrossOriginProtection, on the host example.com.
ROWS = [
    # method, Sec-Fetch-Site, Origin, allowed
    ("POST", "same-origin", None, True),
    ("POST", "none", None, True),
    ("POST", "cross-site", None, False),
    ("POST", "same-site", None, False),
    ("POST", "unheard-of", None, False),
    ("POST", None, None, True),
    ("POST", None, "https://example.com", True),
    ("POST", None, "https://attacker.example", False),
    ("POST", None, "null", False),
    ("GET", "cross-site", None, True),
    ("HEAD", "cross-site", None, True),
    ("OPTIONS", "cross-site", None, True),
    ("PUT", "cross-site", None, False),
    ("PATCH", "same-site", None, False),
    ("DELETE", None, "https://attacker.example", False),
    # ours
    ("post", "cross-site", None, False),
    ("TRACE", "cross-site", None, False),
    ("get", "cross-site", None, False),
    (
        "POST",
        "same-origin",
        "https://attacker.example",
        True,
    ),  # an Origin that a proxy rewrote: the browser said so
    ("POST", "cross-site", "https://example.com", False),
    ("POST", "same-site", "https://example.com", False),
    ("POST", " same-origin ", None, True),
    ("POST", "SAME-ORIGIN", None, False),
    ("POST", "", "https://attacker.example", False),
    ("POST", None, "https://EXAMPLE.com", True),
    ("POST", None, "https://example.com:443", True),
    ("POST", None, "http://example.com:80", True),
    ("POST", None, "http://example.com", True),  # the proxy may have ended the TLS
    ("POST", None, "https://example.com:8443", False),
    ("POST", None, "https://example.com.attacker.example", False),
    ("POST", None, "https://attacker.example/example.com", False),
    ("POST", None, "https://example.com@attacker.example", False),
    ("POST", None, "https://attacker.example#example.com", False),
    ("POST", None, "example.com", False),
    ("POST", None, "//example.com", False),
    ("POST", None, "https://", False),
    ("POST", None, "://example.com", False),
    ("POST", None, "ftp://example.com", False),
    ("POST", None, "file://", False),
    ("POST", None, "https://exämple.com", False),
    ("POST", None, "\0", False),
    ("POST", None, "https://[::1", False),
]


@pytest.mark.parametrize(("method", "site", "origin", "allowed"), ROWS)
def test_the_table(method: str, site: str | None, origin: str | None, allowed: bool) -> None:
    decision = OriginPolicy().decide(
        method,
        host="example.com",
        sec_fetch_site=[] if site is None else [site],
        origin=[] if origin is None else [origin],
    )
    assert decision.allowed is allowed, decision


@pytest.mark.parametrize(
    ("origin", "site", "allowed"),
    [
        ("https://trusted.example", None, True),
        ("https://trusted.example", "cross-site", True),
        ("https://trusted.example", "same-site", True),
        ("https://trusted.example:443", "cross-site", True),
        ("http://trusted.example", None, False),
        ("https://trusted.example:8443", "cross-site", False),
        ("https://sub.trusted.example", "cross-site", False),
        ("https://trusted.example.attacker.example", "cross-site", False),
        ("https://attacker.example", "cross-site", False),
    ],
)
def test_trusted_origins(origin: str, site: str | None, allowed: bool) -> None:
    policy = OriginPolicy(["https://trusted.example"])
    decision = policy.decide(
        "POST", host="example.com", sec_fetch_site=[] if site is None else [site], origin=[origin]
    )
    assert decision.allowed is allowed


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com",
        "https://example.com:8080",
        "http://example.com",
        "http://127.0.0.1:8000",
        "http://[::1]:80",
    ],
)
def test_origins_that_can_be_trusted(origin: str) -> None:
    assert len(OriginPolicy([origin]).trusted) == 1


@pytest.mark.parametrize(
    "origin",
    [
        "example.com", "", "https://example.com/", "https://example.com/path", "https://example.com?q", "https://a.b?",
        "https://example.com#f", "https://", "null",
        "https://ex ample.com", "https://a*.example.com", "https://*.", "https://u@example.com", "ftp://example.com",
        "https://example.com:port",
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused_at_once(origin: str) -> None:
    with pytest.raises(ValueError, match="scheme://host"):
        OriginPolicy(["https://fine.example", origin])


@pytest.mark.parametrize(
    ("referer", "allowed"),
    [
        ("https://example.com/", True),
        ("https://example.com", True),
        ("https://example.com:443/page?q=1#f", True),
        ("http://example.com/page", True),  # the proxy may have ended the TLS
        ("https://trusted.example/page", True),
        ("http://trusted.example/page", False),
        ("https://attacker.example/", False),
        ("https://attacker.example/example.com", False),
        ("https://example.com.attacker.example/", False),
        ("https://example.com@attacker.example/", False),
        ("https://user:pass@example.com/", False),
        ("https://example.com:8443/", False),
        ("https:///example.com", False),
        ("https://[", False),
        ("about:blank", False),
        ("null", False),
        ("", False),
        ("broken \0", False),
        ("android-app://example.com", False),
    ],
)
def test_a_referer_is_asked_when_the_other_headers_are_missing(referer: str, allowed: bool) -> None:
    policy = OriginPolicy(["https://trusted.example"])
    assert policy.decide("POST", host="example.com", referer=[referer]).allowed is allowed
    assert policy.decide("GET", host="example.com", referer=[referer]).allowed
    # It never outweighs what browsers say more reliably.
    assert policy.decide(
        "POST", host="example.com", sec_fetch_site=["same-origin"], referer=[referer]
    ).allowed
    foreign = policy.decide(
        "POST", host="example.com", origin=["https://attacker.example"], referer=[referer]
    )
    assert not foreign.allowed


def test_a_doubled_header_is_refused() -> None:
    policy = OriginPolicy()
    assert not policy.decide("POST", host="h", sec_fetch_site=["same-origin", "cross-site"]).allowed
    assert not policy.decide("POST", host="h", origin=["http://h", "http://h"]).allowed


def test_a_request_without_host_trusts_no_origin() -> None:
    assert not OriginPolicy().decide("POST", host="", origin=["https://"]).allowed
    assert not OriginPolicy().decide("POST", host="", origin=["https://example.com"]).allowed


def tokens(*secrets: str) -> CsrfTokens:
    return CsrfTokens(Keys(secrets or (SECRET,), purpose="csrf"))


def test_a_token_is_valid_for_its_binding_only() -> None:
    issued = tokens().issue(b"session-a")
    assert tokens().valid(issued, [b"session-a"])
    assert tokens().valid(issued, [b"other", b"session-a"])
    assert not tokens().valid(issued, [b"session-b"])
    assert not tokens().valid(issued, [b""])
    assert not tokens().valid(issued, [])


def test_each_token_differs_and_none_is_predictable_from_another() -> None:
    assert len({tokens().issue(b"a") for _ in range(100)}) == 100


def test_a_replaced_secret_still_verifies_tokens() -> None:
    issued = tokens("the-old-made-up-secret-0123456789abcdef").issue(b"a")
    assert tokens(SECRET, "the-old-made-up-secret-0123456789abcdef").valid(issued, [b"a"])
    assert not tokens(SECRET).valid(issued, [b"a"])


def test_a_thousand_odd_tokens_are_refused_and_none_raises() -> None:
    dice = random.Random(77)
    check = tokens()
    good = check.issue(b"a")
    odd: list[object] = [
        None,
        7,
        b"x",
        [],
        {},
        "",
        " ",
        "é" * 64,
        "\0" * 64,
        "\ud800" * 64,
        "A" * 63,
        "A" * 65,
        good + "\n",
    ]
    for _ in range(1000):
        letters = list(good)
        letters[dice.randrange(64)] = chr(dice.choice([*range(32, 127), 233, 0x1F600, 0xD800]))
        text = "".join(letters)
        odd.append(text if text != good else None)
        odd.append("".join(chr(dice.randrange(1, 0x2FFF)) for _ in range(dice.randint(0, 80))))
    assert not any(check.valid(each, [b"a"]) for each in odd)


def test_a_wildcard_trusts_subdomains_only() -> None:
    policy = OriginPolicy(["https://*.example.com", "http://*.test:8080"])

    def allowed(origin: str) -> bool:
        return policy.decide("POST", host="api.other", origin=[origin]).allowed

    assert allowed("https://a.example.com")
    assert allowed("https://A.B.example.com:443")
    assert allowed("http://x.test:8080")
    for other in (
        "https://example.com", "http://a.example.com", "https://a.example.com:8443", "https://aexample.com",
        "https://a.example.com.attacker", "https://attacker/.example.com", "https://u@a.example.com", "null",
    ):  # fmt: skip
        assert not allowed(other), other


def test_a_page_over_plain_http_cannot_post_to_https() -> None:
    policy = OriginPolicy()
    assert not policy.decide("POST", host="h.example", scheme="https", origin=["http://h.example"]).allowed
    assert policy.decide("POST", host="h.example", scheme="http", origin=["https://h.example"]).allowed
    assert policy.decide("POST", host="h.example", origin=["http://h.example"]).allowed
