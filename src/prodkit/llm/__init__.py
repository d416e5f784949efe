"""Claude, with answers that are whole: retries, fallback, breakers, mended streams, known cost.

Importing this does not import anthropic; the first call (or :meth:`Client.start`) does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prodkit.errors import LlmError
from prodkit.llm.cached import AnswerCache
from prodkit.llm.client import Client
from prodkit.llm.cost import Budget, Price
from prodkit.llm.errors import LlmCircuitOpenError, LlmDeadlineError, LlmRateLimitedError, LlmTimeoutError
from prodkit.llm.events import LlmAttempt, LlmFinished
from prodkit.llm.model import Model
from prodkit.llm.records import Answer, Attempt, Usage
from prodkit.llm.stream import Stream

if TYPE_CHECKING:
    from prodkit.llm.middleware import ResilienceMiddleware as ResilienceMiddleware

__all__ = [
    "Answer",
    "AnswerCache",
    "Attempt",
    "Budget",
    "Client",
    "LlmAttempt",
    "LlmCircuitOpenError",
    "LlmDeadlineError",
    "LlmError",
    "LlmFinished",
    "LlmRateLimitedError",
    "LlmTimeoutError",
    "Model",
    "Price",
    "ResilienceMiddleware",
    "Stream",
    "Usage",
]


def __getattr__(name: str) -> Any:
    if name == "ResilienceMiddleware":  # derives from a class of anthropic, which only its users load
        from prodkit.llm.middleware import ResilienceMiddleware

        return ResilienceMiddleware
    raise AttributeError(f"module 'prodkit.llm' has no attribute {name!r}")
