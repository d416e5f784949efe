"""The events of a mended stream for whoever reads events and not text, pure: one message, each event once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from prodkit.llm.records import Usage
from prodkit.llm.splice import Splice

__all__ = ["Relay"]


class Relay:
    """Turns what a :class:`Splice` takes in into Server-Sent Events.

    Text goes out as it comes. Thinking and tool calls go out whole, when text follows or at the end: an attempt that
    fails before leaves no half of them behind.
    """

    __slots__ = ("_held", "_index", "_out", "_seen", "_splice", "_started", "_text_open")

    def __init__(self, splice: Splice) -> None:
        self._splice = splice
        self._out: list[bytes] = []
        self._held: list[dict[str, Any]] = []
        self._index = 0
        self._seen = 0
        self._started = False
        self._text_open = False

    def begin(self) -> None:
        """A new attempt: what the last one left unsent is forgotten."""
        self._held = []
        self._seen = 0

    def feed(self, event: Mapping[str, Any], text: str) -> None:
        """One event that the splice has taken, and the text in it that is to be delivered."""
        kind = event["type"]
        if kind == "message_start":
            self.begin()
            if not self._started:
                self._started = True
                message = event["message"]
                self._send({**event, "message": {**message, "usage": message.get("usage") or Usage().told()}})
            return
        if text:
            if not self._text_open:
                self._flush()
                self._open({"type": "text", "text": ""})
                self._text_open = True
            self._delta({"type": "text_delta", "text": text})
        elif (
            kind == "content_block_delta" and event["delta"]["type"] == "citations_delta" and self._text_open
        ):
            self._delta(event["delta"])
        if kind == "content_block_stop":
            whole = self._splice.whole_blocks
            self._held += [block for block in whole[self._seen :] if block["type"] != "text"]
            self._seen = len(whole)

    def end(self, stop: Mapping[str, Any], usage: Usage) -> None:
        """The message is whole."""
        self._flush()
        self._close()
        delta = {name: stop.get(name) for name in ("stop_reason", "stop_sequence")}
        self._send({"type": "message_delta", "delta": delta, "usage": usage.told()})
        self._send({"type": "message_stop"})

    def take(self) -> bytes:
        """What is to be sent now."""
        out, self._out = self._out, []
        return b"".join(out)

    # --------------------------------------------------------------------------
    def _flush(self) -> None:
        for block in self._held:
            self._close()
            self._open(_opening(block))
            for delta in _deltas(block):
                self._delta(delta)
            self._text_open = True  # so that it is closed
            self._close()
        self._held = []

    def _open(self, block: Mapping[str, Any]) -> None:
        self._send({"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, delta: Mapping[str, Any]) -> None:
        self._send({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _close(self) -> None:
        if self._text_open:
            self._send({"type": "content_block_stop", "index": self._index})
            self._index += 1
            self._text_open = False

    def _send(self, event: Mapping[str, Any]) -> None:
        told = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        self._out.append(f"event: {event['type']}\ndata: {told}\n\n".encode())


def _opening(block: Mapping[str, Any]) -> dict[str, Any]:
    match block["type"]:
        case "thinking":
            return {**block, "thinking": "", "signature": ""}
        case "tool_use" | "server_tool_use":
            return {**block, "input": {}}
        case _:
            return dict(block)


def _deltas(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "thinking":
            yield {"type": "thinking_delta", "thinking": block.get("thinking", "")}
            yield {"type": "signature_delta", "signature": block.get("signature", "")}
        case "tool_use" | "server_tool_use":
            told = json.dumps(block.get("input", {}), ensure_ascii=False)
            yield {"type": "input_json_delta", "partial_json": told}
        case _:
            return
