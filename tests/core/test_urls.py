from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from prodkit.core import urls
from prodkit.core.urls import split_address
from prodkit.postgres.address import for_driver


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse what the newest Pythons refuse: a bracket that does not begin the host."""

    def refuses(text: str) -> Any:
        parts = urlsplit(text)
        if parts.netloc.rpartition("@")[2].find("[") > 0:
            raise ValueError("Invalid IPv6 URL")
        return parts

    monkeypatch.setattr(urls, "urlsplit", refuses)


def test_a_group_may_name_an_ipv6_address_after_others() -> None:
    parts = split_address("redis://user:p%40ss@a:7000,[::1]:7001/0?cluster=true")
    assert parts.netloc == "user:p%40ss@a:7000,[::1]:7001"
    assert (parts.scheme, parts.path, parts.query) == ("redis", "/0", "cluster=true")
    assert (parts.username, parts.password) == ("user", "p%40ss")


@pytest.mark.parametrize(
    "text", ["redis://a", "redis://[::1]:1/2?x=y", "unix:///run/redis.sock", "postgresql:///shop", "a", ""]
)
def test_one_host_is_split_as_ever(text: str) -> None:
    assert split_address(text) == urlsplit(text)


@pytest.mark.parametrize("text", ["redis://a,[::1", "redis://a,b[::1]", "redis://a,[zz]/0"])
def test_a_host_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"IPv6|does not appear"):
        split_address(text)


def test_a_connect_to_one_host_of_a_list_names_no_other() -> None:
    found = for_driver("postgresql://u:p%40@a:1,[::1]:2/shop?sslmode=require", one_host=True)
    assert found == "postgresql://u:p%40@/shop?sslmode=require"
    assert for_driver("postgresql://u@a/shop", one_host=True) == "postgresql://u@a/shop"
