"""What a call leaves behind: usage, one record per HTTP request, the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anthropic.types import Message

__all__ = ["Answer", "Attempt", "Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens; ``estimated`` where a failed attempt left us to guess its output."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    estimated: bool = False

    @classmethod
    def of(cls, told: Mapping[str, Any] | None, *, estimated: bool = False) -> Usage:
        """The usage in the form in which the API tells it; what it leaves out counts as 0."""
        told = told or {}
        return cls(
            input_tokens=told.get("input_tokens") or 0,
            output_tokens=told.get("output_tokens") or 0,
            cache_creation_input_tokens=told.get("cache_creation_input_tokens") or 0,
            cache_read_input_tokens=told.get("cache_read_input_tokens") or 0,
            estimated=estimated,
        )

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_creation_input_tokens + other.cache_creation_input_tokens,
            self.cache_read_input_tokens + other.cache_read_input_tokens,
            self.estimated or other.estimated,
        )

    def told(self) -> dict[str, int]:
        """In the form in which the API tells it."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_creation_input_tokens": self.cache_creation_input_tokens,
            "cache_read_input_tokens": self.cache_read_input_tokens,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One HTTP request. ``outcome`` is "ok", "cancelled" or the code of the failure; durations are seconds.

    `waited` is the wait before it and `wait_reason` why: "backoff", "retry_after", "rate", "queue" or "". It holds
    no text of the conversation.
    """

    number: int
    model: str
    outcome: str
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
        """Whether this request brought the message to its end."""
        return self.outcome == "ok"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Answer:
    """A whole message.

    `model` is the model that finished it and `requested_model` the first of the chain; `usage` and `cost` are
    summed over all attempts, `cost` is in US dollars and None where a price is not known. `content` holds the
    blocks as the API spells them and is safe to send back.
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

    @property
    def content(self) -> list[dict[str, Any]]:
        """The content blocks as plain dictionaries."""
        blocks: list[dict[str, Any]] = self.message.get("content") or []
        return blocks

    @property
    def truncated(self) -> bool:
        """Whether the model stopped for want of room and not because it was done."""
        return self.stop_reason in ("max_tokens", "model_context_window_exceeded")

    @property
    def fell_back(self) -> bool:
        """Whether another model than the requested one finished it."""
        return self.model != self.requested_model

    @property
    def raw(self) -> Message:
        """The SDK's own ``anthropic.types.Message``, built when asked for."""
        from anthropic.types import Message

        return Message.construct(**self.message)

    def __repr__(self) -> str:
        return (
            f"Answer(model={self.model!r}, characters={len(self.text)}, stop_reason={self.stop_reason!r}, "
            f"attempts={len(self.attempts)}, usage={self.usage!r})"
        )
