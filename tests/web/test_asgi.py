"""The helpers of the layers: one shared ``send``, header access, path prefixes."""

from __future__ import annotations

from typing import Any

import pytest

from prodkit.web.asgi import (
    add_header,
    header,
    headers,
    matches,
    on_start,
    path_of,
    prefixes,
    set_default,
)


async def test_hooks_of_neighbouring_layers_share_one_send_and_the_inner_one_runs_first() -> None:
    sent: list[str] = []
    ran: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def waits(message: Any) -> None:
        ran.append("inner")

    scope: dict[str, Any] = {"type": "http"}
    outer, hooks = on_start(scope, send, lambda message: ran.append("outer"))
    inner, same = on_start(scope, outer, waits)
    assert inner is outer
    assert same is hooks
    await inner({"type": "http.response.start"})
    await inner({"type": "http.response.body"})
    assert ran == ["inner", "outer"]  # once each: the body begins nothing
    assert sent == ["http.response.start", "http.response.body"]


async def test_a_hook_that_was_taken_back_does_not_see_the_answer_of_an_outer_layer() -> None:
    ran: list[str] = []

    async def send(message: Any) -> None:
        return None

    scope: dict[str, Any] = {"type": "http"}
    outer, _ = on_start(scope, send, lambda message: ran.append("outer"))
    _, hooks = on_start(scope, outer, lambda message: ran.append("inner"))
    hooks.pop()
    await outer({"type": "http.response.start"})
    assert ran == ["outer"]


async def test_a_foreign_send_between_two_layers_keeps_both_hooks() -> None:
    ran: list[str] = []

    async def send(message: Any) -> None:
        ran.append("server")

    scope: dict[str, Any] = {"type": "http"}
    outer, _ = on_start(scope, send, lambda message: ran.append("outer"))

    async def foreign(message: Any) -> None:
        ran.append("foreign")
        await outer(message)

    inner, _ = on_start(scope, foreign, lambda message: ran.append("inner"))
    await inner({"type": "http.response.start"})
    assert ran == ["inner", "foreign", "outer", "server"]


def test_request_headers() -> None:
    scope = {"headers": [(b"accept", b"a"), (b"accept", b"b"), (b"x", b"\xe9")]}
    assert headers(scope, b"accept") == [b"a", b"b"]
    assert header(scope, b"accept") == "a"
    assert header(scope, b"x") == "é"
    assert header(scope, b"absent") == ""
    assert header({}, b"accept") == ""


def test_response_headers_are_added_or_left() -> None:
    message: dict[str, Any] = {"type": "http.response.start", "headers": [(b"Vary", b"Accept")]}
    set_default(message, b"vary", "Cookie")
    assert message["headers"] == [(b"Vary", b"Accept")]
    add_header(message, b"vary", "Cookie")
    assert message["headers"] == [(b"Vary", b"Accept"), (b"vary", b"Cookie")]
    bare: dict[str, Any] = {"type": "http.response.start"}
    set_default(bare, b"vary", "Cookie")
    assert bare["headers"] == [(b"vary", b"Cookie")]


@pytest.mark.parametrize(
    ("root", "path", "below"),
    [
        ("", "/a", "/a"),
        ("/api", "/api/a", "/a"),
        ("/api", "/api", "/"),
        ("/api", "/apiary", "/apiary"),
        ("/api", "/a", "/a"),
    ],
)
def test_a_path_is_seen_below_the_root_path(root: str, path: str, below: str) -> None:
    assert path_of({"path": path, "root_path": root}) == below


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/metrics", True),
        ("/metrics/x", True),
        ("/metricsx", False),
        ("/static/a.css", True),
        ("/static", False),
        ("/", False),
    ],
)
def test_a_prefix_is_one_path_or_a_tree(path: str, found: bool) -> None:
    assert matches({"path": path}, prefixes(["/metrics", "/static/"], "skip")) is found


def test_prefixes_are_checked() -> None:
    assert prefixes("/one", "skip") == ("/one",)
    assert not matches({"path": "/one"}, prefixes((), "skip"))
    with pytest.raises(ValueError, match=r"skip .*'static/'"):
        prefixes(["/ok", "static/"], "skip")


def test_headers_are_read_again_where_a_layer_in_between_changed_them() -> None:
    scope: Any = {"headers": [(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"host", b"kit")]}
    assert (header(scope, b"cookie"), headers(scope, b"cookie")) == ("a=1", [b"a=1", b"b=2"])
    scope["headers"].append((b"x-new", b"1"))  # the same list
    assert header(scope, b"x-new") == "1"
    scope["headers"] = [(b"host", b"\xe9")]  # another one
    assert (header(scope, b"host"), headers(scope, b"cookie"), header(scope, b"x-new")) == ("\xe9", [], "")
    assert (header({}, b"host"), headers({}, b"host")) == ("", [])
    assert headers({"headers": ([b"a", b"1"],)}, b"a") == [b"1"]


def test_a_path_matches_as_a_whole_or_below_and_never_by_its_beginning_alone() -> None:
    paths = ("/static/", "/metrics")
    found = {
        path: matches({"path": path}, paths)
        for path in ("/static/x", "/static", "/metrics", "/metrics/a", "/metricsx")
    }
    assert found == {
        "/static/x": True,
        "/static": False,
        "/metrics": True,
        "/metrics/a": True,
        "/metricsx": False,
    }
