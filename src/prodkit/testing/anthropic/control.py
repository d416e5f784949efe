"""The control endpoint: the owner of the simulator sets its script and reads its record."""

from __future__ import annotations

import base64
import json
from typing import Any, Protocol

from prodkit.testing.anthropic.resources import Resources
from prodkit.testing.anthropic.state import State
from prodkit.testing.anthropic.wire import Request

__all__ = ["control"]


class Controlled(Protocol):
    """The side of the server that the owner may set."""

    continuation: str
    seed: int
    state: State
    resources: Resources


def control(server: Controlled, request: Request) -> tuple[int, dict[str, Any]]:
    """Execute the command in the path of `request` and return status and body."""
    given = json.loads(request.content or b"{}")
    try:
        match request.path.removeprefix("/_control/"):
            case "state":
                return 200, server.state.as_json(**given)
            case "script":
                server.state.script(given["behaviours"], given.get("model"))
            case "always":
                server.state.always(given["behaviour"], given.get("model"))
            case "storm":
                server.state.storm(given["behaviour"], given["seconds"], given.get("model"))
            case "model":
                server.state.configure(given["model"], given["rejects"], given["unknown"])
            case "limit":
                server.state.limit(given["per_minute"], given.get("burst"))
            case "continuation":
                server.continuation, server.seed = given["continuation"], given["seed"]
            case "file":
                content = base64.b64decode(given["content"])
                key = server.resources.keep(
                    content, given["filename"], given["media_type"], downloadable=True
                )
                return 200, {"id": key}
            case "reset":
                server.state.reset()
            case _:
                return 404, {"problem": "unknown control"}
    except (KeyError, TypeError, ValueError) as error:
        return 400, {"problem": str(error)}
    return 200, {}
