"""The options of a client, checked once and all together."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from prodkit.llm.cost import Budget
from prodkit.llm.model import Model

__all__ = ["DEFAULT_MODELS", "Options"]

DEFAULT_MODELS = ("claude-sonnet-5-5", "claude-haiku-5-5")
"""Sonnet answers, Haiku steps in: what the service behind this kit asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a client calls. Durations are seconds."""

    models: tuple[Model, ...]
    attempts: int = 3
    timeout: float = 60.0
    first_content_timeout: float = 60.0
    stall_timeout: float = 30.0
    attempt_timeout: float | None = None
    backoff: float = 1.0
    max_backoff: float = 8.0
    jitter: bool = False
    patience: float = 30.0
    failures: int = 5
    open_for: float = 300.0
    concurrency: int = 50
    max_queue: int = 1000
    budget: Budget | None = None
    hedge_after: float | None = None
    hedge_share: float = 0.1
    fallback_on_refusal: bool = False

    def __post_init__(self) -> None:
        problems = [*self._numbers(), *self._chain()]
        if problems:
            raise ValueError("; ".join(problems))

    def _numbers(self) -> Iterable[str]:
        for name in ("timeout", "first_content_timeout", "stall_timeout", "open_for", "patience", "backoff"):
            value = getattr(self, name)
            if not (_is_number(value) and value > 0):
                yield f"{name} must be a positive number of seconds, got {value!r}"
        for name in ("attempt_timeout", "hedge_after"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value < math.inf):
                yield f"{name} must be a positive number of seconds or None, got {value!r}"
        for name in ("attempts", "failures", "concurrency"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                yield f"{name} must be a whole number of 1 or more, got {value!r}"
        queue: Any = self.max_queue
        if not isinstance(queue, int) or queue < 0:
            yield f"max_queue must be a whole number of 0 or more, got {queue!r}"
        if not (_is_number(self.hedge_share) and 0 < self.hedge_share <= 1):
            yield f"hedge_share must be above 0 and at most 1, got {self.hedge_share!r}"

    def _chain(self) -> Iterable[str]:
        names = [model.name for model in self.models]
        if not names:
            yield "models must name at least one model"
        if len(set(names)) != len(names):
            yield f"models must differ from each other, got {names!r}"
        if self.budget is not None:
            for model in self.models:
                if model.price is None:
                    yield f"a budget needs the price of every model, and {model.name!r} has none: give prices="

    def wait(self, attempts: int, chance: float) -> float:
        """The wait after this many attempts: 1, 2, 4 … seconds; with jitter up to that."""
        seconds: float = min(self.backoff * 2 ** (attempts - 1), self.max_backoff)
        return seconds * chance if self.jitter else seconds


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
