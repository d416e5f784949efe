"""The commands of the simulator's owner."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from prodkit.testing.anthropic.control import control
from prodkit.testing.anthropic.resources import Resources
from prodkit.testing.anthropic.state import State
from prodkit.testing.anthropic.wire import Request


class Server:
    def __init__(self) -> None:
        self.continuation = "exact"
        self.seed = 0
        self.state = State()
        self.resources = Resources(lambda params: dict(params))


def sent(server: Server, command: str, **given: Any) -> tuple[int, dict[str, Any]]:
    content = json.dumps(given).encode() if given else b""
    return control(server, Request("POST", f"/_control/{command}", {}, content))


def test_scripts_storms_and_limits_reach_the_state() -> None:
    server = Server()
    assert sent(server, "script", behaviours=["529"]) == (200, {})
    assert sent(server, "always", behaviour="503") == (200, {})
    assert [server.state.next_behaviour("m").status for _ in range(2)] == [529, 503]
    assert sent(server, "storm", behaviour="500", seconds=60) == (200, {})
    assert server.state.next_behaviour("m").status == 500
    assert sent(server, "model", model="m", rejects=["thinking"], unknown=False) == (200, {})
    assert server.state.rejected_fields == {"m": ("thinking",)}
    assert sent(server, "limit", per_minute=60) == (200, {})
    assert server.state.requests_limit is not None
    assert sent(server, "continuation", continuation="more", seed=3) == (200, {})
    assert (server.continuation, server.seed) == ("more", 3)
    assert sent(server, "reset") == (200, {})
    assert server.state.next_behaviour("m").status == 200


def test_a_file_is_kept() -> None:
    server = Server()
    content = base64.b64encode(b"hello").decode()
    status, body = sent(server, "file", content=content, filename="a.txt", media_type="text/plain")
    assert status == 200
    assert body["id"].startswith("file_")


def test_the_record_is_read() -> None:
    server = Server()
    server.state.begin("/v1/messages", {}, None, "ok")
    status, body = sent(server, "state")
    assert (status, len(body["requests"])) == (200, 1)
    assert sent(server, "state", since=1)[1]["requests"] == []


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("script", {"behaviours": ["unknown"]}),
        ("script", {}),
        ("storm", {"behaviour": "500"}),
        ("always", {"behaviour": "status"}),
        ("state", {"wrong": 1}),
    ],
)
def test_a_wrong_command_is_a_400_with_its_reason(command: str, given: dict[str, Any]) -> None:
    status, body = sent(Server(), command, **given)
    assert status == 400
    assert body["problem"]


def test_an_unknown_command_is_a_404() -> None:
    assert sent(Server(), "explode")[0] == 404
