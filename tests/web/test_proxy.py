"""The fields of trusted proxies, and those of everybody else."""

from __future__ import annotations

from typing import Any

import pytest

from prodkit.web.proxy import ProxyMiddleware, trusted_peer


async def seen(
    peer: str | None, trusted: Any = ("10.0.0.0/8",), *, kind: str = "http", **fields: Any
) -> dict[str, Any]:
    """Return the scope that the app behind the proxy layer gets."""
    found: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.update(scope)

    async def nothing(*_: Any) -> Any:
        raise AssertionError("the layer neither receives nor sends")

    pairs: list[tuple[bytes, bytes]] = [(b"host", b"inside:8000")]
    for name, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            pairs.append((b"x-forwarded-" + name.removeprefix("x_").encode(), value.encode()))
    scope = {
        "type": kind,
        "client": None if peer is None else (peer, 4000),
        "scheme": "ws" if kind == "websocket" else "http",
        "headers": pairs,
    }
    await ProxyMiddleware(app, trusted=trusted)(scope, nothing, nothing)
    return found


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),  # the left one is what the visitor wrote
        ("203.0.113.7, 10.1.1.1", "203.0.113.7"),  # a second proxy of ours
        (["203.0.113.7", "10.1.1.1"], "203.0.113.7"),  # the same in two fields
        ("203.0.113.7:5123", "203.0.113.7"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("rubbish, 10.1.1.1", "10.1.1.1"),  # the last address that could be read
        ("rubbish", "10.0.0.1"),
    ],
)
async def test_the_client_is_the_nearest_hop_that_is_not_ours(chain: Any, client: str) -> None:
    assert (await seen("10.0.0.1", x_for=chain))["client"][0] == client


async def standard(peer: str, *values: str, **more: str) -> dict[str, Any]:
    """Return the scope behind a layer that reads ``Forwarded``."""
    found: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.update(scope)

    async def nothing(*_: Any) -> Any: ...

    pairs = [(b"host", b"inside:8000"), *((b"forwarded", value.encode("latin-1")) for value in values)]
    pairs += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    scope = {"type": "http", "client": (peer, 4000), "scheme": "http", "headers": pairs}
    await ProxyMiddleware(app, trusted=["10.0.0.0/8", "2001:db8:ff::/48"], forwarded=True)(
        scope, nothing, nothing
    )
    return found


@pytest.mark.parametrize(
    ("values", "client", "scheme", "host"),
    [
        (["for=203.0.113.7;proto=https;host=kit.example"], "203.0.113.7", "https", b"kit.example"),
        (['For="[2001:db8::1]:4711"; Proto=https'], "2001:db8::1", "https", b"inside:8000"),
        (['for="203.0.113.7:80"'], "203.0.113.7", "http", b"inside:8000"),
        (["for=198.51.100.1;proto=https, for=203.0.113.7;proto=http"], "203.0.113.7", "http", b"inside:8000"),
        (
            ["for=203.0.113.7", "for=10.1.1.1;host=kit.example:8443"],
            "203.0.113.7",
            "http",
            b"kit.example:8443",
        ),
        (['for=203.0.113.7, for="[2001:db8:ff::9]"'], "203.0.113.7", "http", b"inside:8000"),
        (['for="evil, for=203.0.113.7;proto=https'], "203.0.113.7", "https", b"inside:8000"),
        (["for=unknown"], "10.0.0.1", "http", b"inside:8000"),
        (["for=_hidden, for=10.1.1.1"], "10.1.1.1", "http", b"inside:8000"),
        (["proto=javascript;host=a b"], "10.0.0.1", "http", b"inside:8000"),
        (["", ";;,=,\xff"], "10.0.0.1", "http", b"inside:8000"),
    ],
)
async def test_the_standard_field_is_read_where_the_proxies_write_it(
    values: list[str], client: str, scheme: str, host: bytes
) -> None:
    scope = await standard("10.0.0.1", *values, x_forwarded_for="1.2.3.4", x_forwarded_proto="https")
    assert (scope["client"][0], scope["scheme"]) == (client, scheme)
    assert dict(scope["headers"])[b"host"] == host


async def test_only_one_of_the_two_kinds_of_fields_counts() -> None:
    scope = await standard("203.0.113.9", "for=1.2.3.4;proto=https")
    assert (scope["client"][0], scope["scheme"]) == ("203.0.113.9", "http")
    found: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.update(scope)

    pairs = [(b"forwarded", b"for=1.2.3.4"), (b"x-forwarded-for", b"203.0.113.7")]
    scope = {"type": "http", "client": ("10.0.0.1", 1), "scheme": "http", "headers": pairs}
    await ProxyMiddleware(app, trusted=["10.0.0.0/8"])(scope, None, None)  # type: ignore[arg-type]
    assert found["client"][0] == "203.0.113.7"


async def test_the_fields_of_a_stranger_are_ignored() -> None:
    scope = await seen("203.0.113.9", x_for="1.2.3.4", x_proto="https", x_host="evil.example")
    assert scope["client"] == ("203.0.113.9", 4000)
    assert scope["scheme"] == "http"
    assert (b"host", b"inside:8000") in scope["headers"]
    assert not trusted_peer(scope)


async def test_a_trusted_peer_is_known_to_the_layers_inside() -> None:
    assert trusted_peer(await seen("10.0.0.1"))
    assert trusted_peer(await seen("::ffff:10.0.0.1"))  # what a dual-stack socket reports


@pytest.mark.parametrize(("kind", "scheme"), [("http", "https"), ("websocket", "wss")])
async def test_the_scheme_fits_the_kind_of_connection(kind: str, scheme: str) -> None:
    assert (await seen("10.0.0.1", kind=kind, x_proto="http, HTTPS"))["scheme"] == scheme


async def test_an_unknown_scheme_changes_nothing() -> None:
    assert (await seen("10.0.0.1", x_proto="gopher"))["scheme"] == "http"


async def test_the_host_is_replaced_when_it_is_one() -> None:
    scope = await seen("10.0.0.1", x_host="shop.example:8443")
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"shop.example:8443"]


@pytest.mark.parametrize("host", ["", "a b", "evil.example/path", "user@host", "h\r\nx: y", ".example"])
async def test_a_host_that_is_none_is_left_out(host: str) -> None:
    scope = await seen("10.0.0.1", x_host=host)
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"inside:8000"]


async def test_a_unix_socket_is_trusted_by_its_word_only() -> None:
    assert trusted_peer(await seen(None, "unix"))
    assert not trusted_peer(await seen(None, "10.0.0.0/8"))


def test_all_networks_that_cannot_be_read_are_named_at_once() -> None:
    async def app(*_: Any) -> None:
        return None

    with pytest.raises(ValueError, match=r"10\.0\.0\.0/99.*localhost") as caught:
        ProxyMiddleware(app, trusted=["10.0.0.0/99", "unix", "localhost"])
    assert "'unix'" in str(caught.value)
