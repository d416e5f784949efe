"""Did this request come from our own pages? Pure decisions, no I/O.

Two layers. :class:`OriginPolicy` reads what the browser says of itself: ``Sec-Fetch-Site``, and ``Origin`` for
browsers and plain-http pages that do not send it. The rules and their order are those of Go's
``http.CrossOriginProtection``; the OWASP cheat sheet accepts them as a primary defence. :class:`CsrfTokens` adds a
token bound to the session, for forms and scripts, which also covers whatever sends neither header.

``prodkit.web.CsrfMiddleware`` asks both. Everything odd is a refusal, never an exception.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from prodkit.sessions.cookie import Keys

__all__ = ["SAFE_METHODS", "CsrfDecision", "CsrfTokens", "OriginPolicy"]

SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS"))
"""Methods that change nothing (RFC 9110, 9.2.1), save for TRACE, which no server here answers."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{64}\Z")
_NONCE: Final = 16
_DEFAULT_PORT: Final = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class CsrfDecision:
    """Whether the request may pass; `reason` is a stable code for logs and tests."""

    allowed: bool
    reason: str


class OriginPolicy:
    """Decides by ``Sec-Fetch-Site`` and ``Origin``.

    `trusted` are further origins whose pages may send requests here: ``https://app.example.com``, with the port
    where it is not the default one; no path, no wildcard. Raises ValueError for anything else.
    """

    __slots__ = ("trusted",)

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        wanted = [trusted] if isinstance(trusted, str) else list(trusted)
        problems = [f"{each!r} ({why})" for each in wanted if (why := _not_an_origin(each))]
        if problems:
            raise ValueError("an origin is scheme://host[:port]; not so: " + ", ".join(problems))
        self.trusted = frozenset(_normal(each) for each in wanted)

    def decide(
        self,
        method: str,
        *,
        host: str,
        sec_fetch_site: Sequence[str] = (),
        origin: Sequence[str] = (),
        referer: Sequence[str] = (),
    ) -> CsrfDecision:
        """The verdict on one request. `host` is its ``Host`` header, the others are all values of theirs.

        Where a proxy took both away, a ``Referer`` of another site is still a reason to refuse. Without any of them
        the request does not come from a browser page of this decade, and this policy has nothing against it; a
        token may.
        """
        if method in SAFE_METHODS:
            return CsrfDecision(True, "safe_method")
        if len(sec_fetch_site) > 1 or len(origin) > 1:
            return CsrfDecision(False, "ambiguous_headers")
        site = sec_fetch_site[0].strip() if sec_fetch_site else ""
        source = origin[0].strip() if origin else ""
        if site in ("same-origin", "none"):
            return CsrfDecision(True, "same_origin")
        if not site and not source:
            return self._by_referer(host, referer)
        if not site and _same_host(source, host):
            return CsrfDecision(True, "same_host")
        if source and _normal(source) in self.trusted:
            return CsrfDecision(True, "trusted_origin")
        return CsrfDecision(False, "cross_origin" if site else "foreign_origin")

    def _by_referer(self, host: str, referer: Sequence[str]) -> CsrfDecision:
        if not referer:
            return CsrfDecision(True, "no_browser_headers")
        for each in referer:
            source = _origin_of(each)
            if not _same_host(source, host) and _normal(source) not in self.trusted:
                return CsrfDecision(False, "foreign_referer")
        return CsrfDecision(True, "same_host")

    def __repr__(self) -> str:
        return f"OriginPolicy({sorted(self.trusted)})"


class CsrfTokens:
    """Tokens bound to a session, or for visitors without one to a cookie of theirs.

    A token is a nonce and its HMAC together with the binding: nothing is stored, each page gets another text (so
    that compression tells nothing about it), and a new session id makes the old tokens worthless.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def issue(self, binding: bytes) -> str:
        """A token of 64 characters for `binding`."""
        nonce = secrets.token_bytes(_NONCE)  # of one size, so no other pair gives the same message
        return urlsafe_b64encode(nonce + self._keys.sign(nonce + binding)).decode()

    def valid(self, token: object, bindings: Iterable[bytes]) -> bool:
        """Whether `token` was issued for one of `bindings`. False for anything that is no token at all."""
        if not isinstance(token, str) or not _TOKEN.match(token):
            return False
        raw = urlsafe_b64decode(token)
        nonce, code = raw[:_NONCE], raw[_NONCE:]
        good = False
        for binding in bindings:
            good |= self._keys.verify(nonce + binding, code)
        return good


def _origin_of(url: str) -> str:
    """The origin of a whole URL, empty where it has none."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _not_an_origin(text: str) -> str:
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        return "not a URL"
    if url.scheme not in ("http", "https"):
        return "the scheme is http or https"
    if not url.hostname or "@" in url.netloc or "*" in url.netloc:
        return "no plain host"
    if url.path or url.query or url.fragment or text.endswith(("?", "#")):
        return "more than an origin"
    return ""


def _normal(origin: str) -> str:
    scheme, separator, host = origin.strip().lower().partition("://")
    return f"{scheme}{separator}{host.removesuffix(_DEFAULT_PORT.get(scheme, ' '))}"


def _same_host(origin: str, host: str) -> bool:
    """Whether `origin` names the host of the request. The scheme is not compared: a proxy may have ended the TLS."""
    scheme = origin.partition("://")[0].lower()
    if scheme not in _DEFAULT_PORT or not host:
        return False
    return _normal(origin) == _normal(f"{scheme}://{host}")
