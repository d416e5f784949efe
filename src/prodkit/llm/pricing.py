"""Prices, estimates of a request's cost, and a budget that is never exceeded. Pure but for the budget's own sum."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from prodkit.core.validate import Arguments
from prodkit.errors import BudgetExceededError
from prodkit.llm.results import Usage

__all__ = ["Budget", "Price", "estimate_input", "worst_case"]

_MILLION: Final = 1_000_000
_IMAGE: Final = 1_600  # tokens of an image at the API's size limit, https://docs.claude.com/en/docs/build-with-claude/vision


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens.

    Args:
        input: of input tokens.
        output: of output tokens.
        cache_read: of input read from the prompt cache; None is the API's rule, 0.1 of `input`.
        cache_write: of input written to the prompt cache; None is the API's rule, 1.25 of `input`.
    """

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None

    def __post_init__(self) -> None:
        check = Arguments("Price")
        for name in ("input", "output", "cache_read", "cache_write"):
            check.number(
                f"Price.{name}",
                getattr(self, name),
                minimum=0,
                optional=name.startswith("cache"),
                unit="dollars",
            )
        check.done()

    def of(self, usage: Usage) -> float:
        """Return the price of `usage` in dollars."""
        read = 0.1 * self.input if self.cache_read is None else self.cache_read
        write = 1.25 * self.input if self.cache_write is None else self.cache_write
        return (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_input_tokens * read
            + usage.cache_creation_input_tokens * write
        ) / _MILLION


def estimate_input(params: Mapping[str, Any]) -> int:
    """Estimate the input tokens cautiously: one for three characters, 1,600 for an image or document."""
    counted = [0, 0]
    for name in ("system", "messages", "tools"):
        _measure(params.get(name), counted)
    characters, images = counted
    return math.ceil(characters / 3) + images * _IMAGE + 8


def _measure(value: Any, counted: list[int]) -> None:
    if hasattr(value, "model_dump"):  # blocks of an earlier answer, as the SDK gives them
        value = value.model_dump()
    if isinstance(value, str):
        counted[0] += len(value)
    elif isinstance(value, Mapping):
        if value.get("type") in ("image", "document") and "source" in value:
            counted[1] += 1
            return
        for each in value.values():
            _measure(each, counted)
    elif isinstance(value, list | tuple):
        for each in value:
            _measure(each, counted)


def worst_case(params: Mapping[str, Any], price: Price) -> float:
    """Return the most that one request with `params` is expected to cost at `price`, in dollars."""
    return price.of(Usage(estimate_input(params), int(params.get("max_tokens", 0))))


class Budget:
    """A hard limit in US dollars, for one client or shared by several.

    Before a request is sent its worst case is reserved; when it has ended, its real cost takes that place. A request
    whose worst case does not fit is refused and never sent.

    Args:
        limit: US dollars, above 0.
    """

    __slots__ = ("limit", "reserved", "spent")

    def __init__(self, limit: float) -> None:
        check = Arguments("Budget")
        check.number("limit", limit, above=0, unit="dollars")
        check.done()
        self.limit: float = limit
        self.spent: float = 0.0
        self.reserved: float = 0.0

    @property
    def left(self) -> float:
        """The dollars that are neither spent nor reserved."""
        return self.limit - self.spent - self.reserved

    def reserve(self, amount: float) -> None:
        """Reserve `amount` dollars.

        Raises:
            BudgetExceededError: it would exceed the limit; nothing was reserved.
        """
        if amount > self.left:
            raise BudgetExceededError(
                f"the request may cost ${amount:.4f} and only ${max(0.0, self.left):.4f} of the budget of "
                f"${self.limit:.2f} is left; it was not sent"
            )
        self.reserved += amount

    def settle(self, reserved: float, actual: float) -> None:
        """Replace the amount `reserved` for a request by its `actual` cost."""
        self.reserved = max(0.0, self.reserved - reserved)
        self.spent += actual

    def __repr__(self) -> str:
        return f"Budget(limit={self.limit:.2f}, spent={self.spent:.4f}, reserved={self.reserved:.4f})"
