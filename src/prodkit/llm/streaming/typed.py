"""The typed events of a stream: text, thinking, tool input, citations, usage, attempts, joints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from prodkit.llm.results import Attempt, Continuation, Usage

__all__ = [
    "AttemptEvent",
    "BlockEvent",
    "CitationEvent",
    "ContinuedEvent",
    "OtherEvent",
    "StreamEvent",
    "TextEvent",
    "ThinkingEvent",
    "ToolInputEvent",
    "TypedEvents",
    "UsageEvent",
]


@dataclass(frozen=True, slots=True)
class TextEvent:
    """A piece of text.

    Args:
        text: the new characters; each character of the answer is delivered once.
        type: "text".
    """

    text: str
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class ThinkingEvent:
    """A piece of the model's thinking.

    Args:
        thinking: the new characters.
        type: "thinking".
    """

    thinking: str
    type: Literal["thinking"] = "thinking"


@dataclass(frozen=True, slots=True)
class ToolInputEvent:
    """A piece of the input of a tool call.

    After an :class:`AttemptEvent` that is not ok, calls that were not complete begin again with another `id`.

    Args:
        id: of the tool call.
        name: of the tool.
        partial_json: the new characters of the input; "" when the call begins.
        type: "tool_input".
    """

    id: str
    name: str
    partial_json: str
    type: Literal["tool_input"] = "tool_input"


@dataclass(frozen=True, slots=True)
class CitationEvent:
    """A citation of the present text.

    Args:
        citation: in the API's spelling.
        type: "citation".
    """

    citation: Mapping[str, Any]
    type: Literal["citation"] = "citation"


@dataclass(frozen=True, slots=True)
class BlockEvent:
    """A content block is complete.

    Args:
        block: in the API's spelling, with every field that arrived.
        type: "block".
    """

    block: Mapping[str, Any]
    type: Literal["block"] = "block"


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """Token counts of the present attempt have arrived.

    Args:
        usage: cumulative counts.
        type: "usage".
    """

    usage: Usage
    type: Literal["usage"] = "usage"


@dataclass(frozen=True, slots=True)
class AttemptEvent:
    """An HTTP request has ended.

    Args:
        attempt: its record.
        type: "attempt".
    """

    attempt: Attempt
    type: Literal["attempt"] = "attempt"


@dataclass(frozen=True, slots=True)
class ContinuedEvent:
    """A cut answer is continued by another attempt; the text after this event is that attempt's.

    Args:
        continuation: where and how it was joined.
        type: "continued".
    """

    continuation: Continuation
    type: Literal["continued"] = "continued"


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """An event or delta of a kind that is not known here.

    Args:
        event: in the API's spelling.
        type: "other".
    """

    event: Mapping[str, Any]
    type: Literal["other"] = "other"


StreamEvent: TypeAlias = (
    TextEvent
    | ThinkingEvent
    | ToolInputEvent
    | CitationEvent
    | BlockEvent
    | UsageEvent
    | AttemptEvent
    | ContinuedEvent
    | OtherEvent
)
"""One event of ``Stream.events``; its ``type`` names it."""


class TypedEvents:
    """Turns the events that an assembler takes into typed events."""

    def __init__(self) -> None:
        self._ready: list[StreamEvent] = []
        self._tool: tuple[str, str] | None = None
        self._joints = 0
        self._attempts = 0

    def feed(
        self, event: Mapping[str, Any], text: str, blocks: list[dict[str, Any]], joints: list[Continuation]
    ) -> None:
        """Take one event of the assembler.

        Args:
            event: the event.
            text: the text in it that is to be delivered.
            blocks: the complete blocks of the attempt.
            joints: the joints so far.
        """
        for joint in joints[self._joints :]:
            self._ready.append(ContinuedEvent(joint))
        self._joints = len(joints)
        if text:
            self._ready.append(TextEvent(text))
        match event.get("type"):
            case "message_start":
                self._usage(event["message"].get("usage"))
            case "content_block_start":
                self._start(event["content_block"])
            case "content_block_delta":
                self._delta(event, event["delta"])
            case "content_block_stop":
                self._tool = None
                if blocks:
                    self._ready.append(BlockEvent(blocks[-1]))
            case "message_delta":
                self._usage(event.get("usage"))
            case "message_stop":
                pass
            case _:
                self._ready.append(OtherEvent(event))

    def text(self, text: str) -> None:
        """Add `text` of a failed attempt that was held and can be delivered after all."""
        self._ready.append(TextEvent(text))

    def _usage(self, counts: Mapping[str, Any] | None) -> None:
        if counts:
            self._ready.append(UsageEvent(Usage.of(counts)))

    def _start(self, block: Mapping[str, Any]) -> None:
        if "input" in block:
            self._tool = str(block.get("id", "")), str(block.get("name", ""))
            self._ready.append(ToolInputEvent(*self._tool, ""))

    def _delta(self, event: Mapping[str, Any], delta: Mapping[str, Any]) -> None:
        match delta["type"]:
            case "text_delta" | "signature_delta":
                pass  # the text was delivered, the signature stands in the complete block
            case "thinking_delta":
                self._ready.append(ThinkingEvent(delta["thinking"]))
            case "input_json_delta" if self._tool is not None:
                self._ready.append(ToolInputEvent(*self._tool, delta["partial_json"]))
            case "citations_delta":
                self._ready.append(CitationEvent(delta["citation"]))
            case _:
                self._ready.append(OtherEvent(event))

    def take(self, attempts: list[Attempt]) -> list[StreamEvent]:
        """Return the events that are ready, and those of `attempts` that have ended since."""
        ready, self._ready = self._ready, []
        ended = attempts[self._attempts :]
        self._attempts = len(attempts)
        return [*ready, *map(AttemptEvent, ended)]
