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
