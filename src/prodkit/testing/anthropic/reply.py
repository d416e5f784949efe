"""The reply to one request, pure: validation, content blocks, the Server-Sent Events, usage."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from prodkit.testing.anthropic.answers import AnswerFunction, numbered, text_of
from prodkit.testing.anthropic.behaviour import Behaviour
from prodkit.testing.anthropic.personalities import continue_as

__all__ = ["Reply", "ReplyError", "compose", "count_input", "events", "sse", "validate"]

_PIECE: Final = re.compile(r"\S+\s*|\s+")


class ReplyError(Exception):
    """The request is refused, with this status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole message, before it takes the form of a body or of events."""

    id: str
    model: str
    content: list[dict[str, Any]]
    stop_reason: str
    input_tokens: int

    @property
    def output_tokens(self) -> int:
        return max(1, sum(_tokens(json.dumps(block, ensure_ascii=False)) for block in self.content))

    def usage(self) -> dict[str, Any]:
        return {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": self.output_tokens,
            "service_tier": "standard",
        }

    def body(self) -> dict[str, Any]:
        """Return the body of an answer that is not streamed."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": self.content,
            "stop_reason": self.stop_reason,
            "stop_sequence": None,
            "usage": self.usage(),
        }


def _tokens(text: str) -> int:
    return max(1, math.ceil(len(text) / 4))


def count_input(body: Mapping[str, Any]) -> int:
    """Return a plausible number of input tokens: a quarter of the characters of the prompt."""
    prompt = {name: body[name] for name in ("system", "messages", "tools") if name in body}
    return _tokens(json.dumps(prompt, ensure_ascii=False))


def validate(body: Any, *, counting: bool = False) -> None:
    """Raise :class:`ReplyError` for a body that the API refuses with 400."""
    if not isinstance(body, dict):
        raise ReplyError(400, "The request body is not valid JSON.")
    needed = ("model", "messages") if counting else ("model", "max_tokens", "messages")
    for name in needed:
        if name not in body:
            raise ReplyError(400, f"{name}: Field required")
    if not counting and (not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1):
        raise ReplyError(400, "max_tokens: Input should be greater than or equal to 1")
    messages = body["messages"]
    if not isinstance(messages, list) or not messages:
        raise ReplyError(400, "messages: at least one message is required")
    for index, message in enumerate(messages):
        _validate_message(index, message)
    if messages[-1]["role"] == "assistant" and not _paused(messages[-1]["content"]):
        raise ReplyError(
            400,
            "This model does not support assistant message prefill. "
            "The conversation must end with a user message.",
        )


def _paused(content: Any) -> bool:
    """True for an answer that stopped with ``pause_turn``: it is sent back as it is, and the model goes on."""
    blocks = content if isinstance(content, list) else []
    return any(isinstance(block, dict) and block.get("type") == "server_tool_use" for block in blocks)


def _validate_message(index: int, message: Any) -> None:
    if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
        raise ReplyError(400, f"messages.{index}.role: Input should be 'user' or 'assistant'")
    content = message.get("content")
    if not content:
        raise ReplyError(400, f"messages.{index}: all messages must have non-empty content")
    for block in content if isinstance(content, list) else ():
        kind = block.get("type")
        if kind == "text" and not str(block.get("text", "")).strip():
            raise ReplyError(400, "messages: text content blocks must be non-empty")
        if kind == "thinking" and not block.get("signature"):
            raise ReplyError(400, f"messages.{index}.content: Invalid `signature` in `thinking` block")


def compose(
    body: Mapping[str, Any],
    behaviour: Behaviour,
    answers: AnswerFunction,
    *,
    number: int,
    continuation: str,
    seed: int = 0,
) -> Reply:
    """Return the model's reply to `body`.

    A conversation that ends with the beginning of this model's own answer, and then with a request to go on, is
    continued in the way of `continuation`, see :mod:`prodkit.testing.anthropic.personalities`.
    """
    if behaviour.kind == "refusal":
        content: list[dict[str, Any]] = []
        stop_reason = "refusal"
    else:
        way = behaviour.continuation or continuation
        content = _content(body, behaviour, answers, way, seed)
        stop_reason = "tool_use" if any(block["type"] == "tool_use" for block in content) else "end_turn"
        if _shorten(content, int(body.get("max_tokens", 4096)) * 4):
            stop_reason = "max_tokens"
    return Reply(
        id=f"msg_sim_{number:08d}",
        model=str(body["model"]),
        content=content,
        stop_reason=behaviour.stop_reason or stop_reason,
        input_tokens=count_input(body),
    )


def _content(
    body: Mapping[str, Any], behaviour: Behaviour, answers: AnswerFunction, continuation: str, seed: int
) -> list[dict[str, Any]]:
    messages = body["messages"]
    if len(messages) >= 3 and messages[-2]["role"] == "assistant":
        said = text_of(messages[-2]["content"])
        before = _blocks({**body, "messages": messages[:-2]}, behaviour, answers)
        whole = "".join(block["text"] for block in before if block["type"] == "text")
        quoted = _quoted(said, text_of(messages[-1]["content"]))
        cut = said != whole or len(quoted) >= min(len(said), 8)  # else a whole answer, and a new question
        if said and whole.startswith(said) and cut:
            after = [block for block in before if block["type"] != "text" and block["type"] != "thinking"]
            rest = whole[len(said) :]
            if rest or continuation not in ("exact", "bare_apology"):
                rest = continue_as(continuation, said, rest, quoted, random.Random(f"{seed} {said}"))
            return [{"type": "text", "text": rest}, *after] if rest else after
    return _blocks(body, behaviour, answers)


def _quoted(said: str, request: str) -> str:
    """Return the longest end of `said` that the `request` quotes."""
    for start in range(max(0, len(said) - 400), len(said)):
        if said[start:] in request:
            return said[start:]
    return ""


def _blocks(body: Mapping[str, Any], behaviour: Behaviour, answers: AnswerFunction) -> list[dict[str, Any]]:
    if behaviour.content is not None:
        return [dict(block) for block in behaviour.content]
    if behaviour.text is not None:
        said: str | list[dict[str, Any]] = behaviour.text
    elif behaviour.words is not None:
        said = numbered(behaviour.words, text_of(body["messages"][0]["content"]))
    else:
        said = answers(body)
    return [{"type": "text", "text": said}] if isinstance(said, str) else [dict(block) for block in said]


def _shorten(content: list[dict[str, Any]], room: int) -> bool:
    cut = False
    for block in content:
        if block["type"] == "text":
            if len(block["text"]) > room:
                block["text"], cut = block["text"][:room], True
            room -= len(block["text"])
    return cut


def events(reply: Reply) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the events of a streamed answer, in order; every ``content_block_delta`` counts as one delta."""
    start = {**reply.body(), "content": [], "stop_reason": None}
    start["usage"] = {**reply.usage(), "output_tokens": 1}
    yield "message_start", {"type": "message_start", "message": start}
    for index, block in enumerate(reply.content):
        opened, deltas = _deltas(block)
        yield "content_block_start", {"type": "content_block_start", "index": index, "content_block": opened}
        if index == 0:
            yield "ping", {"type": "ping"}
        for delta in deltas:
            yield "content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}
        yield "content_block_stop", {"type": "content_block_stop", "index": index}
    yield (
        "message_delta",
        {
            "type": "message_delta",
            "delta": {"stop_reason": reply.stop_reason, "stop_sequence": None},
            "usage": {"output_tokens": reply.output_tokens},
        },
    )
    yield "message_stop", {"type": "message_stop"}


def _deltas(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    kind = block["type"]
    if kind == "text":
        pieces = _PIECE.findall(block["text"])
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces]
    if kind == "thinking":
        pieces = _PIECE.findall(block["thinking"])
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
        signed = {"type": "signature_delta", "signature": block.get("signature", "sig-sim")}
        return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]
    if kind == "tool_use":
        text = json.dumps(block["input"], ensure_ascii=False)
        pieces = [text[at : at + 8] for at in range(0, len(text), 8)]
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        return {**block, "input": {}}, deltas
    return dict(block), []


def sse(event: str, data: Mapping[str, Any]) -> bytes:
    """Return one event in wire form."""
    return f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
