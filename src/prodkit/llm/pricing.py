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
_THOUSAND: Final = 1_000
_IMAGE: Final = 1_600  # tokens of an image at the API's size limit, https://docs.claude.com/en/docs/build-with-claude/vision


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens.

    Args:
        input: of input tokens.
        output: of output tokens.
        cache_read: of input read from the prompt cache; None is the API's rule, 0.1 of `input`.
        cache_write: of input written to the prompt cache; None is the API's rule, 1.25 of `input`.
        cache_write_1h: of input written to it for an hour; None is the API's rule, 2 times `input`.
        web_search: US dollars for a thousand searches of the API's own tool.
    """

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None
    web_search: float = 10.0

    def __post_init__(self) -> None:
        check = Arguments("Price")
        for name in ("input", "output", "cache_read", "cache_write", "cache_write_1h", "web_search"):
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
        hour = min(usage.cache_creation_1h_input_tokens, usage.cache_creation_input_tokens)
        tokens = (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_input_tokens * read
            + (usage.cache_creation_input_tokens - hour) * self._write
            + hour * self._write_1h
        )
        return tokens / _MILLION + usage.web_search_requests * self.web_search / _THOUSAND

    @property
    def _write(self) -> float:
        return 1.25 * self.input if self.cache_write is None else self.cache_write

    @property
    def _write_1h(self) -> float:
        return 2 * self.input if self.cache_write_1h is None else self.cache_write_1h

    def worst(self, usage: Usage, *, ttl: str | None) -> float:
        """Return the most that `usage` may cost where none, some or all of the input is written to the prompt cache.

        Args:
            usage: the input is in ``input_tokens``.
            ttl: "5m" or "1h", the longest of the request's ``cache_control``; None without one.
        """
        rates = {None: 0.0, "5m": self._write, "1h": max(self._write, self._write_1h)}
        more = max(0.0, rates[ttl] - self.input)
        return self.of(usage) + usage.input_tokens * more / _MILLION


def estimate_input(params: Mapping[str, Any]) -> int:
    """Estimate the input tokens cautiously: one for three characters, 1,600 for an image or PDF document."""
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
        if value.get("type") in ("image", "document") and (source := value.get("source")) is not None:
            if isinstance(source, Mapping) and source.get("type") in ("text", "content"):
                _measure(source, counted)
            else:
                counted[1] += 1
            return
        for each in value.values():
            _measure(each, counted)
    elif isinstance(value, list | tuple):
        for each in value:
            _measure(each, counted)


def worst_case(params: Mapping[str, Any], price: Price) -> float:
    """Return the most that one request with `params` is expected to cost at `price`, in dollars."""
    searches = sum(
        limit
        for tool in params.get("tools") or ()
        if isinstance(tool, Mapping)
        and str(tool.get("type") or "").startswith("web_search")
        and isinstance(limit := tool.get("max_uses"), int)
    )
    usage = Usage(estimate_input(params), int(params.get("max_tokens", 0)), web_search_requests=searches)
    return price.worst(usage, ttl=_cached_for(params))


def _cached_for(value: Any) -> str | None:
    """Return the longest time for which a request writes to the prompt cache, "5m" or "1h"; None when it does not."""
    if isinstance(value, Mapping):
        found = [_cached_for(each) for each in value.values()]
        control = value.get("cache_control")
        if isinstance(control, Mapping):
            found.append("1h" if control.get("ttl") == "1h" else "5m")
    elif isinstance(value, list | tuple):
        found = [_cached_for(each) for each in value]
    else:
        return None
    return "1h" if "1h" in found else "5m" if "5m" in found else None


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
