"""Assemble one message from the events of one or several attempts, pure and lossless.

Every field, block and delta that arrives is kept, those that are not known here too. Each character of text is
delivered once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from prodkit.llm.results import CUT_SHORT, Continuation, Usage
from prodkit.llm.streaming.continuation import NoOverlapError, Overlap

__all__ = ["CONTENT", "Assembler", "MalformedError"]

CONTENT: Final = frozenset(("content_block_delta", "content_block_stop", "message_delta", "message_stop"))
"""Events that show progress of the model. Pings and the opening events do not."""

_REPEATABLE: Final = frozenset(("text", "thinking", "redacted_thinking", "tool_use"))
_FORGOTTEN: Final = frozenset(("tool_use",))
_THINKING: Final = ("thinking", "redacted_thinking")


class MalformedError(ValueError):
    """The events do not make a message."""


@dataclass(slots=True)
class Assembler:
    """Takes the events of attempts in order, and returns the new text of each and the message at the end.

    White space at the end of what has arrived is delivered with the text that follows it: so an answer is always cut
    after a visible character, and the white space of a continuation is unambiguous.

    Blocks that are no text (tool use, thinking) of an attempt that fails are forgotten; the next attempt brings them.
    """

    texts: list[str] = field(default_factory=list[str])
    """All text delivered, in pieces; the first one may be of another process (:meth:`resuming`)."""
    continuations: list[Continuation] = field(default_factory=list[Continuation])
    usage: dict[str, Any] = field(default_factory=dict[str, Any])
    stop_reason: str | None = None
    ended: bool = False
    """Nothing is missing: every block is closed and the stop reason has arrived."""
    done: bool = False
    """The last event has arrived."""
    _parts: list[dict[str, Any]] = field(
        default_factory=list[dict[str, Any]]
    )  # blocks of attempts that failed
    _message: dict[str, Any] | None = None
    _blocks: list[dict[str, Any]] = field(
        default_factory=list[dict[str, Any]]
    )  # complete ones of this attempt
    _block: dict[str, Any] | None = None  # the open one
    _pieces: list[str] = field(default_factory=list[str])  # its text or thinking
    _json: list[str] = field(default_factory=list[str])  # its tool input
    _blank: str = ""  # white space at the end, not delivered yet
    _half: bool = False  # a tool input that is no complete JSON
    _stop: dict[str, Any] = field(default_factory=dict[str, Any])
    _overlap: Overlap | None = None
    _attempt_text: int = 0
    _label: str = ""

    @classmethod
    def resuming(cls, text: str) -> Self:
        """Return an assembler for the rest of an answer of which `text` was delivered earlier."""
        return cls([text], _parts=[{"type": "text", "text": text}])

    # ------------------------------------------------------------------- state
    @property
    def text(self) -> str:
        """All text delivered so far."""
        return "".join(self.texts)

    @property
    def begun(self) -> bool:
        """True once this attempt has sent ``message_start``."""
        return self._message is not None

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The complete blocks of this attempt."""
        return self._blocks

    @property
    def resumable(self) -> bool:
        """True when the rest of the answer can be requested after a failure.

        Results of the server's own tools cannot be requested again in mid-sentence. A tool call of the client is
        forgotten and comes again.
        """
        return not self.texts or all(block["type"] in _REPEATABLE for block in self._blocks)

    def attempt_usage(self, *, failed: bool) -> Usage:
        """Return the usage of this attempt; its output is estimated when it `failed`."""
        if not failed or self._message is None:
            return Usage.of(self.usage)
        counted = Usage.of(self.usage).output_tokens
        output = max(counted, math.ceil(self._attempt_text / 4))
        return Usage.of({**self.usage, "output_tokens": output}, estimated=True)

    # ---------------------------------------------------------------- attempts
    def begin(self, label: str = "") -> None:
        """Start a new attempt of the model `label`. Delivered text is kept, unfinished blocks are forgotten."""
        if self._message is not None and self._attempt_delivered():
            kept = [block for block in self._blocks if block["type"] not in _FORGOTTEN]
            if self._block is not None and self._block["type"] == "text" and self._pieces:
                kept.append({**self._block, "text": "".join(self._pieces)})
            self._parts = _merged(self._parts, kept)
        self._overlap = Overlap(self.text, self._blank) if self.texts else None
        self._label = label
        self._message = self._block = None
        self._blocks, self._stop, self.usage, self._attempt_text = [], {}, {}, 0
        self._pieces, self._json, self._blank, self._half = [], [], "", False
        self.stop_reason, self.ended, self.done = None, False, False

    def salvage(self) -> str:
        """Return the text of a failed attempt that was held to look for repeated words, where it can be joined."""
        overlap, self._overlap = self._overlap, None
        if overlap is None or not overlap.open or self._block is None or self._block["type"] != "text":
            return ""
        try:
            text = overlap.salvage()
        except NoOverlapError:
            return ""
        whole = text.rstrip()
        self._blank = text[len(whole) :]
        if whole:
            self._joined(overlap)
            self._pieces.append(whole)
            self.texts.append(whole)
        return whole

    def _attempt_delivered(self) -> bool:
        if self._block is not None and self._block["type"] == "text" and self._pieces:
            return True
        return any(block["type"] == "text" and block["text"] for block in self._blocks)

    def feed(self, event: Mapping[str, Any]) -> str:
        """Take one event and return the text in it that is to be delivered now.

        Raises:
            MalformedError: the event makes no sense here.
            NoOverlapError: a continuation cannot be joined to the text before it.
        """
        kind = event.get("type")
        if kind == "content_block_delta":
            if (block := self._block) is None:
                raise MalformedError("a delta outside of a content block")
            delta = event["delta"]
            if delta["type"] == "text_delta" and block["type"] == "text":
                return self._text(delta["text"])
            self._apply(block, delta)
            return ""
        return self._other(kind, event)

    def _text(self, text: str) -> str:
        self._attempt_text += len(text)
        if (overlap := self._overlap) is not None:
            text = overlap.feed(text)
            if not overlap.open:
                self._joined(overlap)
        if self._blank:
            text = self._blank + text
            self._blank = ""
        if text[-1:].isspace():
            length = len(whole := text)
            text = whole.rstrip()
            self._blank = whole[len(text) - length :]
        if text:
            self._pieces.append(text)
            self.texts.append(text)
        return text

    def _joined(self, overlap: Overlap) -> None:
        self._overlap = None
        if (joint := overlap.joint) is not None:
            self.continuations.append(
                Continuation(
                    at=joint.at,
                    kind=joint.kind,
                    removed=joint.removed,
                    confidence=joint.confidence,
                    model=self._label,
                )
            )

    def _apply(self, block: dict[str, Any], delta: Mapping[str, Any]) -> None:
        match delta["type"]:
            case "input_json_delta":
                self._json.append(delta["partial_json"])
            case "thinking_delta" if block["type"] == "thinking":
                self._pieces.append(delta["thinking"])
            case "signature_delta":
                block["signature"] = delta["signature"]
            case "citations_delta":
                block["citations"] = [*(block.get("citations") or []), delta["citation"]]
            case "compaction_delta":
                block.update((name, value) for name, value in delta.items() if name != "type")
            case _:
                _merge(block, delta)

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
        if self._message is None and (kind == "content_block_start" or kind in CONTENT):
            raise MalformedError(f"{kind} before message_start")
        if kind == "content_block_start":
            return self._open_block(dict(event["content_block"]))
        if kind == "content_block_stop":
            return self._close_block()
        if kind == "message_delta":
            return self._message_delta(event)
        if kind == "message_stop":
            if self._block is not None:
                raise MalformedError("message_stop inside a content block")
            self.done = True
        return ""  # an event that is not known passes

    def _open_block(self, block: dict[str, Any]) -> str:
        if self._block is not None:
            raise MalformedError("a content block begins inside another")
        if self._half:
            raise MalformedError("the input of a tool call is no JSON")
        self._block = block
        if block["type"] == "fallback" and self._message is not None:
            # The server changed the model itself: the block names the one that answers.
            self._message = {**self._message, "model": block["to"]["model"]}
        early = block.get("text") if block["type"] == "text" else ""
        return self._text(early) if early else ""

    def _close_block(self) -> str:
        block, self._block = self._block, None
        if block is None:
            raise MalformedError("a content block ends that never began")
        late = ""
        if block["type"] == "text":
            if (overlap := self._overlap) is not None:
                late = overlap.close()
                self._joined(overlap)
            late, self._blank = self._blank + late, ""
            if late:
                self._pieces.append(late)
                self.texts.append(late)
            block["text"] = "".join(self._pieces)
        elif self._pieces:
            block["thinking"] = (block.get("thinking") or "") + "".join(self._pieces)
        if self._json and (text := "".join(self._json)):
            try:
                block["input"] = json.loads(text)
            except ValueError:
                self._half = True
                block["input"] = _partial_json(text)
        self._pieces, self._json = [], []
        self._blocks.append(block)
        return late

    def _message_delta(self, event: Mapping[str, Any]) -> str:
        delta = event.get("delta") or {}
        late = ""
        # A model that runs out of room stops inside a block, with or without closing it.
        cut = delta.get("stop_reason") in CUT_SHORT
        if cut and self._block is not None:
            late = self._close_block()
        if self._half and not cut and delta.get("stop_reason") is not None:
            raise MalformedError("the input of a tool call is no JSON")
        for name, value in delta.items():
            if value is not None or name.startswith("stop_"):
                self._stop[name] = value
        for name, value in event.items():
            if value is not None and name not in ("type", "delta", "usage"):
                self._stop[name] = value
        for name, value in (event.get("usage") or {}).items():
            if value is not None:
                self.usage[name] = value  # cumulative: each message_delta replaces the counts before it
        self.stop_reason = self._stop.get("stop_reason")
        self.ended = self._block is None and self.stop_reason is not None
        return late

    # ------------------------------------------------------------------ results
    def message(self, usage: Usage | None = None) -> dict[str, Any]:
        """Return the whole message; `usage` replaces the counts where there were several attempts."""
        message = {**(self._message or {}), **self._stop}
        message["content"] = _merged(self._parts, self._blocks) if self._parts else self._blocks
        if usage is not None:
            message["usage"] = {**self.usage, **usage.counts()}
        elif self.usage:
            message["usage"] = dict(self.usage)
        return message

    def partial(self) -> dict[str, Any] | None:
        """Return what has arrived as an assistant message that is safe to send back; None where there is nothing.

        It holds text only: a tool call would wait for its result, and a thinking block may lack its signature.
        """
        text = self.text
        return {"role": "assistant", "content": [{"type": "text", "text": text}]} if text.strip() else None


def _merge(block: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Merge a delta of an unknown kind: texts and lists grow, everything else is replaced."""
    for name, value in delta.items():
        if name == "type":
            continue
        old = block.get(name)
        if isinstance(old, str) and isinstance(value, str):
            block[name] = old + value
        elif isinstance(old, list) and isinstance(value, list):
            block[name] = [*old, *value]
        elif value is not None or name not in block:
            block[name] = value


def _partial_json(text: str) -> Any:
    """Return what can be read of a JSON text that was cut, as the SDK does."""
    try:
        from jiter import from_json

        return from_json(text.encode(), partial_mode=True)
    except (ImportError, ValueError):
        return {}


def _merged(parts: list[dict[str, Any]], blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join the blocks kept from failed attempts and those of the next one.

    Its first text continues the text block that was cut; its thinking before that is about the continuation.
    """
    if not parts:
        return blocks
    merged, rest = list(parts), list(blocks)
    while rest and rest[0]["type"] in _THINKING:
        rest.pop(0)
    if rest and rest[0]["type"] == "text" and merged[-1]["type"] == "text":
        first, last = rest.pop(0), merged[-1]
        merged[-1] = {**first, **last, "text": last["text"] + first["text"]}
        if citations := [*(last.get("citations") or []), *(first.get("citations") or [])]:
            merged[-1]["citations"] = citations
    return merged + rest
