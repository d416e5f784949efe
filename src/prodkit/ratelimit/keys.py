"""The caller to count: an account, or the address that a request really came from."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

__all__ = ["account_key", "client_ip"]

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


def account_key(account: str) -> str:
    """Return `account` in a form that its spellings share, so that they have one counter.

    Args:
        account: an e-mail address or a user name.
    """
    return unicodedata.normalize("NFKC", account).strip().casefold()


def client_ip(
    peer: str | None, forwarded_for: Iterable[str] = (), *, trusted_proxies: Sequence[str] = ()
) -> str | None:
    """Return the address to count: that of the nearest hop that is no trusted proxy.

    The list is read from the right, as long as the hops are trusted; a hop that cannot be read ends the walk at the
    last address that could. IPv6 counts by /64, the share of one customer. None means that there is no address at all
    (a Unix socket); the limiter counts those together.

    Args:
        peer: the other end of the socket.
        forwarded_for: every ``X-Forwarded-For`` field of the request, in order.
        trusted_proxies: networks (``"10.0.0.0/8"``) or addresses. Without them the header is ignored, because any
            client can write one.
    """
    here = _address(peer or "")
    if here is None:
        return None
    networks = [ip_network(each, strict=False) for each in trusted_proxies]
    hops = [hop for field in forwarded_for for hop in field.split(",")]
    while hops and any(_within(here, network) for network in networks):
        hop = _address(hops.pop())
        if hop is None:
            break
        here = hop
    return _counted(here)


def _address(text: str) -> Address | None:
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _within(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _counted(address: Address) -> str:
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False).network_address) + "/64"
    return str(address)
