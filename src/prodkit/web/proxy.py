"""The visitor's address, scheme and host behind proxies of your own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from prodkit.core.validate import Arguments
from prodkit.web.asgi import headers

__all__ = ["ProxyMiddleware", "trusted_peer"]

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

_KEY: Final = "prodkit.trusted_peer"
_KNOWN: Final = 1024
"""Peers whose verdict is remembered: parsing an address costs as much as a whole layer."""
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z"
)
_SCHEMES: Final = {
    "http": ("http", "ws"),
    "https": ("https", "wss"),
    "ws": ("http", "ws"),
    "wss": ("https", "wss"),
}


def trusted_peer(scope: Scope) -> bool:
    """Return True when the other end of the connection of `scope` is one of the trusted proxies."""
    return scope.get(_KEY) is True


class ProxyMiddleware:
    """Take the client's address, scheme and host from the fields that trusted proxies set.

    ``X-Forwarded-For`` is read from the right, as long as the addresses there are trusted: the first one that is not
    is the client, whatever it wrote further left. ``X-Forwarded-Proto`` and ``X-Forwarded-Host`` count in their last
    value, which the nearest proxy wrote. From any other peer the fields are ignored. Put it outermost.

    With `forwarded` the field ``Forwarded`` (RFC 7239) is read instead, by the same rules. It is one or the other: a
    proxy that writes only one of them passes on whatever a visitor wrote into the other.

    Args:
        app: the ASGI app.
        trusted: networks (``10.0.0.0/8``) and addresses of your proxies; ``unix`` trusts a server that listens on a
            Unix socket, whose peers have no address.
        forwarded: read ``Forwarded`` instead of ``X-Forwarded-*``: for proxies that write it.
    """

    def __init__(self, app: ASGIApp, *, trusted: Iterable[str], forwarded: bool = False) -> None:
        self.app = app
        self._forwarded = forwarded
        self._networks: list[Network] = []
        self._unix = False
        self._known: dict[str, bool] = {}
        check = Arguments("ProxyMiddleware")
        for each in (trusted,) if isinstance(trusted, str) else tuple(trusted):
            if each == "unix":
                self._unix = True
                continue
            try:
                self._networks.append(ip_network(each, strict=False))
            except ValueError:
                check.value("trusted_proxies must be networks, addresses or 'unix'", each)
        check.done()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and self._trusts(scope.get("client")):
            scope[_KEY] = True
            if self._forwarded:
                self._standard(scope)
            else:
                self._address(
                    scope, [hop for field in _texts(scope, b"x-forwarded-for") for hop in field.split(",")]
                )
                self._scheme(scope, _last(scope, b"x-forwarded-proto"))
                self._host(scope, _last(scope, b"x-forwarded-host"))
        await self.app(scope, receive, send)

    def _trusts(self, client: tuple[str, int] | None) -> bool:
        if client is None or not client[0]:
            return self._unix
        found = self._known.get(client[0])
        if found is None:
            address = _parse(client[0])
            found = address is not None and self._ours(address)
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[client[0]] = found
        return found

    def _ours(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)

    def _standard(self, scope: Scope) -> None:
        """Take everything from ``Forwarded``; the last element is the nearest proxy's."""
        elements = _elements(",".join(_texts(scope, b"forwarded")))
        self._address(scope, [each.get("for", "") for each in elements])
        if elements:
            self._scheme(scope, elements[-1].get("proto", ""))
            self._host(scope, elements[-1].get("host", ""))

    def _address(self, scope: Scope, hops: list[str]) -> None:
        client: Address | None = None
        while hops and (client is None or self._ours(client)):
            hop = _parse(hops.pop())
            if hop is None:
                break
            client = hop
        if client is not None:
            scope["client"] = (str(client), 0)

    def _scheme(self, scope: Scope, given: str) -> None:
        found = given.lower()
        if found in _SCHEMES:
            scope["scheme"] = _SCHEMES[found][scope["type"] == "websocket"]

    def _host(self, scope: Scope, host: str) -> None:
        if _HOST.match(host):
            kept = [pair for pair in scope.get("headers", ()) if pair[0] != b"host"]
            scope["headers"] = [(b"host", host.encode()), *kept]


def _texts(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for value in headers(scope, name)]


def _last(scope: Scope, name: bytes) -> str:
    values = _texts(scope, name)
    return values[-1].rpartition(",")[2].strip() if values else ""


def _elements(field: str) -> list[dict[str, str]]:
    """Return the elements of ``Forwarded``, each with its parameters in lower case.

    The field is read from its end, because its beginning may be a visitor's: quotes that never close there must not
    swallow what a proxy wrote, so a comma or semicolon inside of quotes separates too. No address, scheme or host of
    ours holds one.
    """
    found: list[dict[str, str]] = []
    for element in field.split(","):
        parameters: dict[str, str] = {}
        for pair in element.split(";"):
            name, _, value = pair.partition("=")
            parameters[name.strip().lower()] = value.strip().strip('"')
        found.append(parameters)
    return found


def _parse(text: str) -> Address | None:
    """Return the address of a hop: plain, in brackets, with a port, with a zone, or IPv4 mapped into IPv6."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found
