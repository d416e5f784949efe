"""Claude, with answers that are whole: retries, fallback, breakers, mended streams, known cost.

Importing this does not import anthropic; the first call (or :meth:`Client.start`) does.
"""

from __future__ import annotations

from prodkit.errors import LlmError
from prodkit.llm.client import Client
from prodkit.llm.cost import Budget, Price
from prodkit.llm.errors import LlmCircuitOpenError, LlmDeadlineError, LlmRateLimitedError, LlmTimeoutError
from prodkit.llm.events import LlmAttempt, LlmFinished
from prodkit.llm.model import Model
from prodkit.llm.records import Answer, Attempt, Usage
from prodkit.llm.stream import Stream

__all__ = [
    "Answer",
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
    "Stream",
    "Usage",
]
