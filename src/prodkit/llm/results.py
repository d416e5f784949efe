"""The results of a call: usage, one record per HTTP request, the joints of a resumed answer, the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from prodkit.errors import InvalidError

if TYPE_CHECKING:
    from anthropic.types import Message

__all__ = ["Answer", "Attempt", "Continuation", "Usage", "message_of", "stored_text"]

CUT_SHORT: Final = ("max_tokens", "model_context_window_exceeded")
"""Stop reasons of a model that ran out of room."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one or several requests.

    Args:
        input_tokens: tokens of the prompt, without those read from or written to the prompt cache.
        output_tokens: tokens of the answer.
        cache_creation_input_tokens: tokens written to the prompt cache.
        cache_read_input_tokens: tokens read from the prompt cache.
        estimated: True where the output of a failed attempt had to be estimated.
        cache_creation_1h_input_tokens: those of `cache_creation_input_tokens` that are kept for an hour.
        web_search_requests: searches of the API's own tool.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    estimated: bool = False
    cache_creation_1h_input_tokens: int = 0
    web_search_requests: int = 0

    @classmethod
    def of(cls, counts: Mapping[str, Any] | None, *, estimated: bool = False) -> Usage:
        """Return the usage in the API's spelling `counts`; what is missing counts as 0.

        Args:
            counts: the API's ``usage`` object.
            estimated: mark the result as estimated.
        """
        if not counts:
            return cls(estimated=estimated)
        get = counts.get
        cache, tools = get("cache_creation"), get("server_tool_use")
        return cls(
            get("input_tokens") or 0,
            get("output_tokens") or 0,
            get("cache_creation_input_tokens") or 0,
            get("cache_read_input_tokens") or 0,
            estimated,
            (cache.get("ephemeral_1h_input_tokens") or 0) if isinstance(cache, Mapping) else 0,
            (tools.get("web_search_requests") or 0) if isinstance(tools, Mapping) else 0,
        )

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_creation_input_tokens + other.cache_creation_input_tokens,
            self.cache_read_input_tokens + other.cache_read_input_tokens,
            self.estimated or other.estimated,
            self.cache_creation_1h_input_tokens + other.cache_creation_1h_input_tokens,
            self.web_search_requests + other.web_search_requests,
        )

    def counts(self) -> dict[str, int]:
        """Return the counts in the API's spelling."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_creation_input_tokens": self.cache_creation_input_tokens,
            "cache_read_input_tokens": self.cache_read_input_tokens,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The record of one HTTP request; it holds no text of the conversation.

    Args:
        number: counted from 1 within the call.
        model: the label of the model that was asked.
        outcome: "ok", "cancelled" or the code of the failure.
        provider: the name of the provider that sent it.
        status: the HTTP status, None where no response came.
        request_id: the API's id of the request.
        error_type: the API's error type, or the class of the transport's exception.
        error_code: the API's finer code, where it gives one.
        waited: seconds before it was sent.
        wait_reason: "backoff", "retry_after", "rate", "queue", "hedge" or "".
        duration: seconds from sending to the end.
        first_content: seconds from sending to the first content of a stream.
        usage: its token counts.
        cost: US dollars, None where the price is not known.
        resumed: it asked for the rest of an answer that was cut.
        hedge: it was the second request beside a slow one.
        breaker: the state of the model's circuit breaker when it was sent.
    """

    number: int
    model: str
    outcome: str
    provider: str = "anthropic"
    status: int | None = None
    request_id: str = ""
    error_type: str = ""
    error_code: str = ""
    waited: float = 0.0
    wait_reason: str = ""
    duration: float = 0.0
    first_content: float | None = None
    usage: Usage = Usage()
    cost: float | None = None
    resumed: bool = False
    hedge: bool = False
    breaker: str = "closed"

    @property
    def ok(self) -> bool:
        """True for the request that completed the message."""
        return self.outcome == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """A joint: the place where the text of one attempt was continued by that of another.

    Args:
        at: characters of text before the joint.
        kind: "overlap" (repeated words were removed), "restart" (the whole text was repeated) or "rest" (nothing was
            repeated).
        removed: characters that the continuation repeated or put in front and that were removed.
        confidence: from 0 to 1, how sure the joint is; below 0.5 the answer is not joined.
        model: the label of the model that continued.
    """

    at: int
    kind: str
    removed: int
    confidence: float
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Answer:
    """A complete message.

    Args:
        text: the text of all text blocks.
        model: the label of the model that finished it.
        requested_model: the label of the model that was asked first.
        usage: token counts, summed over all attempts.
        attempts: one record per HTTP request.
        stop_reason: the API's reason why the model stopped.
        cost: US dollars, summed over all attempts; None where a price is not known.
        cached: it came from the cache; nothing was sent.
        message: the message in the API's spelling, with every field that arrived.
        continuations: where the answer was joined from several attempts.
    """

    text: str
    model: str
    requested_model: str
    usage: Usage
    attempts: tuple[Attempt, ...] = ()
    stop_reason: str | None = None
    cost: float | None = None
    cached: bool = False
    message: Mapping[str, Any] = field(default_factory=dict[str, Any])
    continuations: tuple[Continuation, ...] = ()

    @property
    def content(self) -> list[dict[str, Any]]:
        """The content blocks as plain dictionaries."""
        blocks: list[dict[str, Any]] = self.message.get("content") or []
        return blocks

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The complete ``tool_use`` blocks; the one that ``max_tokens`` cut is left out."""
        calls = [block for block in self.content if block.get("type") == "tool_use"]
        cut = self.truncated and calls and self.content[-1] is calls[-1]
        return calls[:-1] if cut else calls

    @property
    def truncated(self) -> bool:
        """True when the model stopped because it ran out of room."""
        return self.stop_reason in CUT_SHORT

    @property
    def fell_back(self) -> bool:
        """True when another model than the requested one finished it."""
        return self.model != self.requested_model

    @property
    def raw(self) -> Message:
        """The SDK's own ``anthropic.types.Message``, built on access."""
        from anthropic.types import Message

        return Message.construct(**self.message)

    def __repr__(self) -> str:
        return (
            f"Answer(model={self.model!r}, characters={len(self.text)}, stop_reason={self.stop_reason!r}, "
            f"attempts={len(self.attempts)}, usage={self.usage!r})"
        )


def stored_text(resume: Answer | Mapping[str, Any] | str) -> str:
    """Return the text of a stored partial answer, `resume`, without white space at its end."""
    if isinstance(resume, str):
        return resume.rstrip()
    if isinstance(resume, Answer):
        return resume.text.rstrip()
    given: Any = resume
    content = given.get("content") if isinstance(given, Mapping) else None
    if isinstance(content, str):
        return content.rstrip()
    if not isinstance(content, list):
        raise InvalidError("resume must be a text, an Answer or an assistant message with content")
    texts = [
        block.get("text") for block in content if isinstance(block, Mapping) and block.get("type") == "text"
    ]
    return "".join(text for text in texts if isinstance(text, str)).rstrip()


def message_of(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return `body` when it is a message: it has a list of blocks."""
    content = body.get("content")
    if not isinstance(content, list):
        return None
    for block in content:
        if not isinstance(block, dict) or "type" not in block:
            return None
    return body
