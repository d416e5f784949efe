"""The caller to count: spellings of an account, and addresses behind proxies."""

from __future__ import annotations

from typing import Any

import pytest

from prodkit.ratelimit import account_key, client_ip

OURS = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    "text", ["ana@example.com", " Ana@Example.COM ", "ＡＮＡ@example.com", "ANA@EXAMPLE.COM\n"]
)
def test_spellings_of_an_account_share_a_key(text: str) -> None:
    assert account_key(text) == "ana@example.com"


def test_casefold_and_not_lower() -> None:
    assert account_key("STRASSE") == account_key("straße")


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:5000", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),  # one customer has a whole /64
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        (None, None),
        ("", None),
        ("testclient", None),
    ],
)
def test_the_peer_alone(peer: str | None, key: str | None) -> None:
    assert client_ip(peer) == key


def test_without_trusted_proxies_the_header_is_ignored() -> None:
    assert client_ip("203.0.113.7", ["1.2.3.4"]) == "203.0.113.7"


@pytest.mark.parametrize(
    ("peer", "fields", "key"),
    [
        ("10.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),  # the left one is the visitor's claim
        ("10.0.0.1", ["203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7", "10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["rubbish, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # all of them ours
        ("fd00::1", ["2001:db8::5"], "2001:db8::/64"),
        ("::ffff:10.0.0.1", ['"203.0.113.7:80"'], "203.0.113.7"),
        ("192.0.2.1", ["203.0.113.7"], "192.0.2.1"),
    ],
)
def test_the_nearest_hop_that_is_not_ours(peer: str, fields: Any, key: str) -> None:
    assert client_ip(peer, fields, trusted_proxies=OURS) == key


def test_a_network_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="localhost"):
        client_ip("10.0.0.1", ["1.2.3.4"], trusted_proxies=["localhost"])
