"""Encode a continued stream as Server-Sent Events again, pure: one message, each event once, nothing left out.

Events of an attempt are held until they cannot be taken back: text that is delivered, or input of a tool call,
commits everything before it. An attempt that fails before leaves nothing behind. Blocks that the client did not see
complete (text, a tool call) stay open, and the next attempt continues them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from prodkit.llm.results import Usage
from prodkit.llm.streaming.assembler import MalformedError

__all__ = ["DivergedError", "Encoder"]

_TOOLS: Final = frozenset(("tool_use", "server_tool_use", "mcp_tool_use"))
_THINKING: Final = frozenset(("thinking", "redacted_thinking"))


class DivergedError(MalformedError):
    """A tool call that was sent in part came back with another input: it cannot be continued nor taken back."""


class _Tool:
    """A tool call that was sent, perhaps in part: `sent` of its input, block number `index`."""

    __slots__ = ("index", "name", "seen", "sent")

    def __init__(self, name: str, index: int) -> None:
        self.name = name
        self.index = index
        self.sent = ""
        self.seen = ""  # of the attempt that repeats it


class Encoder:
    """Turns the events that an :class:`Assembler` takes into Server-Sent Events.

    Args:
        stream_tools: send the input of tool calls as it arrives; False holds a call until it is complete, so that a
            cut in it is never seen.
    """

    def __init__(self, *, stream_tools: bool = True) -> None:
        self._stream_tools = stream_tools
        self._out: list[bytes] = []
        self._held: list[tuple[str, dict[str, Any]]] = []  # not sent yet: how the index is set, event
        self._started = False
        self._index = -1  # of the block that was sent last
        self._open = ""  # its type while it is open
        self._block = ""  # the type of the attempt's open block
        self._skipped = (
            False  # the attempt's open block is not sent: it continues one, or is thinking about that
        )
        self._sent: list[_Tool] = []  # tool calls sent by this attempt
        self._pending: list[_Tool] = []  # … by attempts that failed, not repeated yet
        self._tool: _Tool | None = None
        self._final: dict[str, Any] = {}

    def begin(self) -> None:
        """Start a new attempt: events of the last one that were not sent are forgotten."""
        self._held = []
        self._pending = self._pending + self._sent
        self._sent = []
        self._block, self._skipped, self._tool = "", False, None
        self._resumed = self._index >= 0
        for tool in self._pending:
            tool.seen = ""

    def feed(self, event: Mapping[str, Any], text: str) -> None:
        """Take one event that the assembler has taken.

        Args:
            event: the event.
            text: the text in it that is to be delivered.
        """
        kind = event["type"]
        if kind == "message_start":
            self.begin()
            if not self._started:
                self._held.append(("", dict(event)))
        elif kind == "content_block_start":
            self._start(event, text)
        elif kind == "content_block_delta":
            self._delta(event, text)
        elif kind == "content_block_stop":
            if text:
                self._send_text(text, {})
            self._stop(event)
        elif kind == "message_delta":
            if text:
                self._send_text(text, {})
            if self._block:
                self._stop({"type": "content_block_stop"})  # the model stopped inside the block
            self._final = {**self._final, **event}
        elif kind not in ("message_stop", "ping", "error"):
            self._held.append(("", dict(event)))

    def _start(self, event: Mapping[str, Any], text: str) -> None:
        content = event["content_block"]
        self._block = content["type"]
        resumed, self._skipped = self._resumed, False
        if self._block not in _THINKING:
            self._resumed = False
        if resumed and (self._block == "text" or self._block in _THINKING):
            self._skipped = True  # text continues the block that is open; thinking is about the continuation
        elif self._block in _TOOLS and self._pending:
            self._tool = self._pending[0]
            if self._tool.name != content.get("name"):
                raise DivergedError("another tool is called than before")
            self._skipped = True
        else:
            opened = dict(event)
            if self._block == "text" and content.get("text"):
                opened["content_block"] = {**content, "text": ""}
            self._held.append(("open", opened))
            if self._block in _TOOLS:
                self._tool = _Tool(str(content.get("name")), -1)
        if text:
            self._send_text(text, {})

    def _delta(self, event: Mapping[str, Any], text: str) -> None:
        delta = event["delta"]
        if delta["type"] == "text_delta":
            if text:
                self._send_text(text, delta)
        elif delta["type"] == "input_json_delta" and self._tool is not None:
            self._input(event, self._tool, delta["partial_json"])
        elif not (self._skipped and self._block in _THINKING):
            self._held.append(("in", dict(event)))

    def _input(self, event: Mapping[str, Any], tool: _Tool, piece: str) -> None:
        if tool in self._pending:
            tool.seen += piece
            common = min(len(tool.seen), len(tool.sent))
            if tool.seen[:common] != tool.sent[:common]:
                raise DivergedError("the input of a tool call changed")
            piece = tool.seen[len(tool.sent) :]
            if not piece:
                return
            if tool.index != self._index or not self._open:
                raise DivergedError("a complete tool call went on")
            tool.sent += piece
            self._send("in", {**event, "delta": {"type": "input_json_delta", "partial_json": piece}})
            return
        self._held.append(("in", dict(event)))
        if piece and self._stream_tools:
            if tool not in self._sent:
                self._sent.append(tool)
            self._commit()
            tool.index = self._index
            tool.sent += piece

    def text(self, text: str) -> None:
        """Encode `text` of a failed attempt that was held and can be delivered after all."""
        self._send_text(text, {})

    def _send_text(self, text: str, delta: Mapping[str, Any]) -> None:
        if self._pending:
            raise DivergedError("text came where a tool call was expected")
        self._commit()
        if self._skipped and self._open != "text":
            self._send("open", {"type": "content_block_start", "content_block": {"type": "text", "text": ""}})
        self._send(
            "in", {"type": "content_block_delta", "delta": {"type": "text_delta", **delta, "text": text}}
        )

    def _stop(self, event: Mapping[str, Any]) -> None:
        tool, self._tool = self._tool, None
        if tool is not None and tool in self._pending:
            if tool.seen != tool.sent:
                raise DivergedError("a tool call ended sooner than before")
            self._pending.remove(tool)
            self._sent.append(tool)
        if not self._skipped or (self._block == "text" and self._open == "text") or tool is not None:
            self._held.append(("close", dict(event)))
        self._block = ""

    def end(self, usage: Usage | None) -> None:
        """Encode the end of the message; `usage` replaces the counts where there were several attempts."""
        if self._pending:
            raise DivergedError("a tool call was not repeated")
        self._commit()
        final = self._final or {"type": "message_delta", "delta": {"stop_reason": None}}
        if usage is not None:
            final = {**final, "usage": {**(final.get("usage") or {}), **usage.counts()}}
        self._send("", final)
        self._send("", {"type": "message_stop"})

    def take(self) -> bytes:
        """Return the bytes to send now."""
        out, self._out = self._out, []
        return b"".join(out)

    # ------------------------------------------------------------------ sending
    def _commit(self) -> None:
        held, self._held = self._held, []
        for how, event in held:
            self._send(how, event)

    def _send(self, how: str, event: Mapping[str, Any]) -> None:
        if how == "open":
            if self._open:  # a block that an earlier attempt left open
                self._send("close", {"type": "content_block_stop"})
            self._index += 1
            self._open = event["content_block"]["type"]
        if how:
            event = {**event, "index": self._index}
        if how == "close":
            if not self._open:
                return
            self._open = ""
        if event["type"] == "message_start":
            self._started = True
        data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        self._out.append(f"event: {event['type']}\ndata: {data}\n\n".encode())
