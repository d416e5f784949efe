"""The steps of a streamed answer under a behaviour, pure: the bytes to send, and the place where it breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prodkit.testing.anthropic.behaviour import ERROR_TYPES, Behaviour
from prodkit.testing.anthropic.reply import Reply, events, sse

__all__ = ["error_body", "steps"]


def steps(reply: Reply, behaviour: Behaviour) -> Iterator[tuple[str, bytes]]:
    """Return the steps of a stream under `behaviour`: the bytes to send, and the place where to break."""
    kind = behaviour.kind
    if kind in ("empty_stream", "sse"):
        yield "send", behaviour.sse.encode()
        return
    if kind == "comment_only":
        while True:
            yield "tick", b": still here\n\n"
    if kind == "sse_error" and behaviour.after == 0:
        yield "send", _sse_error(behaviour)
        return
    all_events = list(events(reply))
    deltas = sum(event == "content_block_delta" for event, _ in all_events)
    after = deltas // 2 if behaviour.after is None else min(behaviour.after, deltas)
    sent = 0
    breaks = kind.startswith("mid_") or kind in ("sse_error", "ping_only")
    for event, data in all_events:
        if kind == "ping_only" and event != "message_start":
            break
        if breaks and sent >= after and event in ("content_block_delta", "content_block_stop"):
            break
        if event == "message_stop" and kind == "no_stop":
            return
        if event == "message_start" and kind == "no_usage":
            data["message"].pop("usage")
        encoded = sse(event, data)
        if kind == "data_only":
            encoded = encoded.partition(b"\n")[2]
        sent += event == "content_block_delta"
        yield ("drip" if kind == "drip" else "delta" if event == "content_block_delta" else "send"), encoded
    else:
        if not breaks:
            return
    yield from _break(kind, behaviour)


def _break(kind: str, behaviour: Behaviour) -> Iterator[tuple[str, bytes]]:
    match kind:
        case "sse_error":
            yield "send", _sse_error(behaviour)
        case "mid_reset":
            yield "reset", b""
        case "mid_cut":
            yield "cut", b""
        case "mid_bad_json":
            yield "send", b'event: content_block_delta\ndata: {"type": "content_block_delta", "ind\n\n'
        case "mid_stall":
            yield "silence", b""
        case "mid_stall_pings" | "ping_only":
            while True:
                yield "tick", sse("ping", {"type": "ping"})
        case _:
            return  # mid_eof: the body ends as if all were well


def _sse_error(behaviour: Behaviour) -> bytes:
    return sse("error", error_body(529, behaviour.message, behaviour.error_type, behaviour.error_code))


def error_body(status: int, message: str, error_type: str = "", code: str = "") -> dict[str, Any]:
    error: dict[str, Any] = {
        "type": error_type or ERROR_TYPES.get(status, "api_error"),
        "message": message or {529: "Overloaded", 429: "Rate limited"}.get(status, "The simulator says no"),
    }
    if code:
        error["details"] = {"error_code": code}
    return {"type": "error", "error": error, "request_id": "req_sim"}
