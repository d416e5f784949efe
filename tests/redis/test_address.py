from __future__ import annotations

import pytest

from prodkit.redis.address import Address


def test_one_server() -> None:
    address = Address.parse("rediss://user:p%40ss@cache.example:6380/3?ssl_cert_reqs=none")
    assert address.kind == "single"
    assert (address.options["host"], address.options["port"], address.options["db"]) == (
        "cache.example",
        6380,
        3,
    )
    assert address.options["password"] == "p@ss"
    assert address.shown == "rediss://cache.example:6380/3"
    assert "p@ss" not in repr(address)


def test_groups() -> None:
    cluster = Address.parse("redis://:secret@a:7000,[::1]:7001?cluster=true")
    assert (cluster.kind, cluster.hosts) == ("cluster", (("a", 7000), ("::1", 7001)))
    assert cluster.shown == "redis://a:7000,[::1]:7001?cluster=true"
    sentinel = Address.parse("redis://:secret@a,b:26380/2?sentinel=mymaster&sentinel_password=other")
    assert (sentinel.kind, sentinel.service) == ("sentinel", "mymaster")
    assert sentinel.hosts == (("a", 26379), ("b", 26380))
    assert sentinel.sentinel == {"password": "other"}
    assert sentinel.options["db"] == 2
    assert "other" not in sentinel.shown


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("redis://a,b", "several hosts"),
        ("redis://a?ssl_ca_certs=x", "rediss://"),
        ("redis://a?cluster=maybe", "neither true nor false"),
        ("redis://a/3?cluster=true", "database 0"),
        ("redis://a?retry_on_timeout=yes", "not known"),
        ("redis://a?sentinel=", "name of a group"),
        ("unix:///tmp/x?cluster=true", "socket"),
        ("redis://a?protocol=4", "protocol"),
        ("redis://a ", "space"),
        ("redis://a,b%20c?cluster=true", "space"),
        ("rediss://a?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("rediss://a?ssl_check_hostname=perhaps", "ssl_check_hostname"),
        ("rediss://a?ssl_ca_certs=/no/such/file", "no file"),
        ("rediss://a?ssl_certfile=/no/such/file&ssl_keyfile=/", "ssl_keyfile"),
    ],
)
def test_an_option_works_or_is_refused(url: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Address.parse(url)
