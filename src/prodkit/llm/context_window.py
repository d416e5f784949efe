"""Fit a conversation into a context window, pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prodkit.core.validate import Arguments
from prodkit.llm.pricing import estimate_input

__all__ = ["Fitted", "fit", "fit_counted"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A conversation that fits, and what was left out of it.

    Args:
        messages: the messages that fit, in order; they begin with one of the user.
        left_out: the messages that were left out, in order.
        tokens: the input tokens of `messages` and of the other parts of the request.
        limit: the limit that was given.
    """

    messages: list[Mapping[str, Any]]
    left_out: list[Mapping[str, Any]]
    tokens: int
    limit: int

    @property
    def fits(self) -> bool:
        """False when even the messages that must stay exceed the limit."""
        return self.tokens <= self.limit


def fit(
    messages: Sequence[Mapping[str, Any]],
    limit: int,
    *,
    keep_first: int = 0,
    keep_last: int = 1,
    count: Callable[[Mapping[str, Any]], int] = estimate_input,
    **params: Any,
) -> Fitted:
    """Return the newest messages that fit into `limit` input tokens, and what was left out.

    The oldest are left out first. A tool call and its result are never separated, and the conversation that is left
    begins with a message of the user that is no tool result.

    Args:
        messages: the conversation in the API's spelling.
        limit: input tokens, ``max_tokens`` not included.
        keep_first: messages at the beginning that stay, such as a task description.
        keep_last: messages at the end that stay.
        count: returns the input tokens of a request; by default a cautious estimate (one token for three characters).
            For exact numbers use ``Client.fit``.
        **params: other parts of the request that count: `system`, `tools`.
    """
    check = Arguments("fit")
    check.integer("limit", limit, minimum=1)
    check.integer("keep_first", keep_first, minimum=0)
    check.integer("keep_last", keep_last, minimum=1)
    check.done()
    cuts = _cuts_of(messages, keep_first, keep_last)
    low, high = 0, len(cuts) - 1
    # Tokens fall with every message that is left out: look for the first cut that fits.
    while low < high:
        middle = (low + high) // 2
        if count({**params, "messages": _without(messages, keep_first, cuts[middle])}) <= limit:
            high = middle
        else:
            low = middle + 1
    return _fitted(
        messages,
        keep_first,
        cuts[low],
        limit,
        count({**params, "messages": _without(messages, keep_first, cuts[low])}),
    )


async def fit_counted(
    messages: Sequence[Mapping[str, Any]],
    limit: int,
    count: Callable[[Sequence[Mapping[str, Any]]], Awaitable[int]],
    *,
    keep_first: int,
    keep_last: int,
) -> Fitted:
    """Return the same as :func:`fit` with an asynchronous `count` of messages."""
    cuts = _cuts_of(messages, keep_first, keep_last)
    low, high, tokens = 0, len(cuts) - 1, dict[int, int]()

    async def counted(cut: int) -> int:
        if cut not in tokens:
            tokens[cut] = await count(_without(messages, keep_first, cuts[cut]))
        return tokens[cut]

    if await counted(0) <= limit:
        high = 0
    while low < high:
        middle = (low + high) // 2
        if await counted(middle) <= limit:
            high = middle
        else:
            low = middle + 1
    return _fitted(messages, keep_first, cuts[low], limit, await counted(low))


def _cuts_of(messages: Sequence[Mapping[str, Any]], keep_first: int, keep_last: int) -> list[int]:
    """Return the positions up to which messages may be left out, the smallest first; the first leaves out none."""
    if not messages:
        raise ValueError("fit: messages must hold at least one message, got none")
    first = min(keep_first, len(messages))
    cuts = [first]
    for at in range(first + 1, len(messages) - keep_last + 1):
        message = messages[at]
        if message.get("role") == "user" and not _holds(message, "tool_result"):
            cuts.append(at)
    return cuts


def _fitted(
    messages: Sequence[Mapping[str, Any]], keep_first: int, cut: int, limit: int, tokens: int
) -> Fitted:
    """Return the result for a cut."""
    return Fitted(_without(messages, keep_first, cut), list(messages[keep_first:cut]), tokens, limit)


def _without(messages: Sequence[Mapping[str, Any]], keep_first: int, cut: int) -> list[Mapping[str, Any]]:
    return [*messages[:keep_first], *messages[cut:]] if cut > keep_first else list(messages)


def _holds(message: Mapping[str, Any], kind: str) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(
        isinstance(block, Mapping) and block.get("type") == kind for block in content
    )
