"""One message made of the events of one or several attempts, pure: each character delivered once, nothing half."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from prodkit.llm.records import Usage
from prodkit.llm.seam import Seam

__all__ = ["CONTENT", "MalformedError", "Splice"]

CONTENT: Final = frozenset(("content_block_delta", "content_block_stop", "message_delta", "message_stop"))
"""Events that show that the model works. Pings and the opening events do not."""

_KEPT: Final = frozenset(("text", "thinking", "redacted_thinking", "tool_use"))


class MalformedError(ValueError):
    """The events do not make a message."""


class Splice:
    """Takes the events of attempts in order; gives the new text, and at the end the message.

    Blocks that are no text (tool use, thinking) become part of the message when they are whole and either text
    follows or the message ends; an attempt that fails before takes them with it.
    """

    __slots__ = (
        "_attempt_text", "_block", "_blocks", "_message", "_parts", "_seam", "_stop", "_texts", "done", "usage",
    )  # fmt: skip

    def __init__(self) -> None:
        self._texts: list[str] = []  # all text delivered
        self._parts: list[
            dict[str, Any]
        ] = []  # blocks of attempts that failed, with text merged into the last
        self._message: dict[str, Any] | None = None
        self._blocks: list[dict[str, Any]] = []  # whole blocks of this attempt
        self._block: dict[str, Any] | None = None
        self._stop: dict[str, Any] = {}
        self._seam: Seam | None = None
        self._attempt_text = 0
        self.usage: dict[str, Any] = {}
        self.done = False

    # ------------------------------------------------------------- what is told
    @property
    def text(self) -> str:
        """All text delivered so far."""
        return "".join(self._texts)

    @property
    def begun(self) -> bool:
        """Whether this attempt has sent ``message_start``."""
        return self._message is not None

    @property
    def whole_blocks(self) -> list[dict[str, Any]]:
        """The blocks of this attempt that have ended."""
        return self._blocks

    @property
    def resumable(self) -> bool:
        """Whether a failure now can be mended by asking for the rest.

        What a tool of the server's own has found cannot be asked for again in mid-sentence. A tool call of ours is
        forgotten and comes again: nobody has seen it yet.
        """
        return not self._texts or all(block["type"] in _KEPT for block in self._blocks)

    @property
    def refused(self) -> bool:
        """Whether the model would not answer."""
        return self._stop.get("stop_reason") == "refusal"

    def attempt_usage(self, *, failed: bool) -> Usage:
        """The usage of this attempt; its output is estimated when it failed."""
        told = Usage.of(self.usage)
        if not failed or self._message is None:
            return told
        output = max(told.output_tokens, math.ceil(self._attempt_text / 4))
        return Usage.of({**told.told(), "output_tokens": output}, estimated=True)

    # ---------------------------------------------------------------- attempts
    def begin(self) -> None:
        """A new attempt. What the last one delivered stays; what it left half-done is forgotten."""
        if text := self._own_text():
            for block in self._blocks:
                if block["type"] in ("thinking", "redacted_thinking") and not self._parts:
                    self._parts.append(block)
            if self._parts and self._parts[-1]["type"] == "text":
                self._parts[-1] = {**self._parts[-1], "text": self._parts[-1]["text"] + text}
            else:
                self._parts.append({"type": "text", "text": text})
        self._seam = Seam(self.text) if self._texts else None
        self._message = self._block = None
        self._blocks, self._stop, self.usage, self._attempt_text = [], {}, {}, 0
        self.done = False

    def _own_text(self) -> str:
        before = sum(len(part["text"]) for part in self._parts if part["type"] == "text")
        return self.text[before:]

    def feed(self, event: Mapping[str, Any]) -> str:
        """Takes one event and returns the text in it that is to be delivered now.

        Raises:
            MalformedError: the event makes no sense here.
        """
        kind = event.get("type")
        if kind == "content_block_delta":
            if (block := self._block) is None:
                raise MalformedError("a delta outside of a content block")
            delta = event["delta"]
            if delta["type"] == "text_delta" and block["type"] == "text":
                return self._text(block, delta["text"])
            _apply(block, delta)
            return ""
        return self._other(kind, event)

    def _text(self, block: dict[str, Any], text: str) -> str:
        self._attempt_text += len(text)
        if self._seam is not None:
            text = self._seam.feed(text)
        if text:
            block["pieces"].append(text)
            self._texts.append(text)
        return text

    def _other(self, kind: Any, event: Mapping[str, Any]) -> str:
        if kind == "message_start":
            if self._message is not None:
                raise MalformedError("a second message_start")
            message = event["message"]
            if not isinstance(message, dict):
                raise MalformedError("message_start without a message")
            self._message = message
            self.usage = dict(message.get("usage") or {})
            return ""
        if self._message is None and kind in ("content_block_start", *CONTENT):
            raise MalformedError(f"{kind} before message_start")
        if kind == "content_block_start":
            if self._block is not None:
                raise MalformedError("a content block begins inside another")
            self._block = {**event["content_block"], "pieces": []}
            if self._block["type"] == "text" and (early := self._block.get("text")):
                return self._text(self._block, early)
        elif kind == "content_block_stop":
            return self._close_block()
        elif kind == "message_delta":
            self._stop |= event.get("delta") or {}
            told = {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
            self.usage |= told
        elif kind == "message_stop":
            if self._block is not None:
                raise MalformedError("message_stop inside a content block")
            self.done = True
        return ""  # an event that we do not know is none of our business

    def _close_block(self) -> str:
        block, self._block = self._block, None
        if block is None:
            raise MalformedError("a content block ends that never began")
        late = ""
        if block["type"] == "text" and self._seam is not None and (late := self._seam.close()):
            block["pieces"].append(late)
            self._texts.append(late)
        self._blocks.append(_whole(block))
        return late

    # ------------------------------------------------------------------ results
    def message(self, usage: Usage) -> dict[str, Any]:
        """The whole message with the usage of all attempts. Only when :attr:`done`."""
        message = {**(self._message or {}), **self._stop}
        message["content"] = _merged(self._parts, self._blocks)
        message["usage"] = {**self.usage, **usage.told()}
        return message

    def partial(self) -> dict[str, Any] | None:
        """What has arrived, as an assistant message that is safe to send back; None where there is nothing.

        Only text: a tool call would wait for its result, and a thinking block may lack its signature.
        """
        text = self.text
        return {"role": "assistant", "content": [{"type": "text", "text": text}]} if text.strip() else None


def _apply(block: dict[str, Any], delta: Mapping[str, Any]) -> None:
    match delta["type"]:
        case "input_json_delta":
            block["pieces"].append(delta["partial_json"])
        case "thinking_delta":
            block["pieces"].append(delta["thinking"])
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta["citation"]]
        case _:
            pass  # a kind of delta of the future: the block stays as it began


def _whole(block: dict[str, Any]) -> dict[str, Any]:
    pieces = "".join(block.pop("pieces"))
    kind = block["type"]
    if kind == "text":
        block["text"] = pieces
    elif kind == "thinking":
        block["thinking"] = (block.get("thinking") or "") + pieces
    elif pieces:
        try:
            block["input"] = json.loads(pieces)
        except ValueError as error:
            raise MalformedError("the input of a tool call is no JSON") from error
    return block


def _merged(parts: list[dict[str, Any]], blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks kept from failed attempts and those of the last one; its text goes on in the block that broke."""
    if not parts:
        return blocks
    merged = list(parts)
    rest = list(blocks)
    while rest and rest[0]["type"] != "text":
        block = rest.pop(0)
        if block["type"] not in ("thinking", "redacted_thinking"):
            rest.insert(0, block)
            break
    if rest and rest[0]["type"] == "text" and merged[-1]["type"] == "text":
        merged[-1] = {**rest[0], **merged[-1], "text": merged[-1]["text"] + rest.pop(0)["text"]}
    return merged + rest
