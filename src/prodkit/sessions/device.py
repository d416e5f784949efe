"""A short description of a browser and of a network, for the list of a user's sessions. Pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Final

__all__ = ["describe_device", "describe_network"]

# The first hit decides: Edge, Opera and Chrome all name Chrome and Safari too.
_BROWSERS: Final = (
    ("Edg", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser/", "Samsung Internet"), ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"), ("CriOS/", "Chrome"), ("Chrome/", "Chrome"), ("Safari/", "Safari"), ("curl/", "curl"),
    ("python-httpx/", "httpx"), ("python-requests/", "requests"), ("okhttp/", "Android app"),
)  # fmt: skip
_SYSTEMS: Final = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"), ("Macintosh", "macOS"), ("Linux", "Linux"),
)  # fmt: skip


def describe_device(user_agent: str) -> str:
    """Return browser and system of `user_agent`, such as ``Firefox on Linux``; empty for an unknown one."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent[:400]), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent[:400]), "")
    return f"{browser} on {system}" if browser and system else browser or system


def describe_network(address: str) -> str:
    """Return the network of `address`, an IPv4 /24 or an IPv6 /48: enough to recognise, too little to track."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    return str(ip_network((found, 24 if found.version == 4 else 48), strict=False))
