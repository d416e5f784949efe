"""Decide whether a request came from our own pages. Pure, no I/O.

Two layers. :class:`OriginPolicy` reads the fields that the browser sets itself: ``Sec-Fetch-Site``, and ``Origin`` for
browsers and plain-http pages that do not send it. The rules and their order are those of Go's
``http.CrossOriginProtection``; the OWASP cheat sheet accepts them as a primary defence. :class:`CsrfTokens` adds a
token bound to the session, for forms and scripts, which also covers clients that send neither header.

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
_HOST: Final = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.?(?::[0-9]{1,5})?\Z",
    re.IGNORECASE,
)
_IPV6: Final = re.compile(r"\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?\Z")
_DEFAULT_PORT: Final = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class CsrfDecision:
    """The verdict on one request.

    Args:
        allowed: the request may pass.
        reason: a stable code for logs and tests.
    """

    allowed: bool
    reason: str


class OriginPolicy:
    """Decide by ``Sec-Fetch-Site`` and ``Origin``.

    Args:
        trusted: further origins whose pages may send requests here: ``https://app.example.com``, with the port where
            it is not the default one, or ``https://*.example.com`` for all subdomains (not for ``example.com``).

    Raises:
        ValueError: one of them is not an origin.
    """

    __slots__ = ("_suffixes", "trusted")

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        wanted = [trusted] if isinstance(trusted, str) else list(trusted)
        problems = [f"{each!r} ({why})" for each in wanted if (why := _not_an_origin(each))]
        if problems:
            raise ValueError("an origin is scheme://host[:port]; not one: " + ", ".join(problems))
        normal = [_normal(each) for each in wanted]
        self.trusted: frozenset[str] = frozenset(normal)
        self._suffixes = tuple(each.partition("://*") for each in normal if "://*." in each)

    def decide(
        self,
        method: str,
        *,
        host: str,
        scheme: str = "",
        sec_fetch_site: Sequence[str] = (),
        origin: Sequence[str] = (),
        referer: Sequence[str] = (),
    ) -> CsrfDecision:
        """Return the verdict on one request.

        Where a proxy removed both fields, a ``Referer`` of another site is still a reason to refuse. Without any of
        them no current browser sent the request, and this policy allows it; a token may not.

        Args:
            method: GET, POST…
            host: the ``Host`` field.
            scheme: ``https`` refuses an ``Origin`` of the same host over plain http; empty where it is not known.
            sec_fetch_site: all values of ``Sec-Fetch-Site``.
            origin: all values of ``Origin``.
            referer: all values of ``Referer``.
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
        if not site and _same_host(source, host) and not (scheme == "https" and _is_http(source)):
            return CsrfDecision(True, "same_host")
        if source and self._trusts(source):
            return CsrfDecision(True, "trusted_origin")
        return CsrfDecision(False, "cross_origin" if site else "foreign_origin")

    def _by_referer(self, host: str, referer: Sequence[str]) -> CsrfDecision:
        if not referer:
            return CsrfDecision(True, "no_browser_headers")
        for each in referer:
            source = _origin_of(each)
            if not _same_host(source, host) and not self._trusts(source):
                return CsrfDecision(False, "foreign_referer")
        return CsrfDecision(True, "same_host")

    def _trusts(self, source: str) -> bool:
        normal = _normal(source)
        if normal in self.trusted:
            return True
        scheme, _, host = normal.partition("://")
        return any(
            scheme == wanted and host.endswith(suffix) and _HOST.match(host) is not None
            for wanted, _, suffix in self._suffixes
        )

    def __repr__(self) -> str:
        return f"OriginPolicy({sorted(self.trusted)})"


class CsrfTokens:
    """Tokens bound to a session, or for visitors without one to a cookie of theirs.

    A token is a nonce and its HMAC together with the binding: nothing is stored, each page gets a different text (so
    that compression reveals nothing about it), and a new session id invalidates the old tokens.

    Args:
        keys: sign and verify; ``Sessions.csrf_keys`` are some.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def issue(self, binding: bytes) -> str:
        """Return a token of 64 characters for `binding`."""
        nonce = secrets.token_bytes(_NONCE)  # of one size, so no other pair gives the same message
        return urlsafe_b64encode(nonce + self._keys.sign(nonce + binding)).decode()

    def valid(self, token: object, bindings: Iterable[bytes]) -> bool:
        """Return True when `token` was issued for one of `bindings`; False for anything that is no token at all."""
        if not isinstance(token, str) or not _TOKEN.match(token):
            return False
        raw = urlsafe_b64decode(token)
        nonce, code = raw[:_NONCE], raw[_NONCE:]
        good = False
        for binding in bindings:
            good |= self._keys.verify(nonce + binding, code)
        return good


def _origin_of(url: str) -> str:
    """Return the origin of a whole URL, empty where it has none."""
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
    host = url.netloc.removeprefix("*.")
    if not url.hostname or not (_HOST.match(host) or (_IPV6.match(host) and host == url.netloc)):
        return "no plain host"
    if url.path or url.query or url.fragment or text.endswith(("?", "#")):
        return "more than an origin"
    return ""


def _normal(origin: str) -> str:
    scheme, separator, host = origin.strip().lower().partition("://")
    return f"{scheme}{separator}{host.removesuffix(_DEFAULT_PORT.get(scheme, ' '))}"


def _is_http(origin: str) -> bool:
    return origin.strip().lower().startswith("http://")


def _same_host(origin: str, host: str) -> bool:
    """Return True when `origin` names the host of the request. A proxy may have ended the TLS: schemes may differ."""
    scheme = origin.partition("://")[0].lower()
    if scheme not in _DEFAULT_PORT or not host:
        return False
    return _normal(origin) == _normal(f"{scheme}://{host}")
