"""Split addresses that name several hosts, which the standard library refuses or accepts by its version."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

__all__ = ["split_address"]


def split_address(text: str) -> SplitResult:
    """Split the address of a server, or of a group of them, into its parts.

    Python 3.11.12, 3.12.9, 3.13.2 and later refuse a bracket that does not begin the host, so the authority is set
    aside while the rest is split::

        redis://:password@a:7000,[::1]:7001/0?cluster=true
                ╰────────── authority ────╯

    Args:
        text: ``scheme://user:password@host:port,[ipv6]:port/path?query``.

    Raises:
        ValueError: a part of it cannot be read.
    """
    scheme, separator, rest = text.partition("://")
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    authority = rest[:end]
    if not separator or "," not in authority:
        return urlsplit(text)
    for host in authority.rpartition("@")[2].split(","):
        _ = urlsplit(f"{scheme}://{host}").hostname
    return urlsplit(f"{scheme}://group{rest[end:]}")._replace(netloc=authority)
