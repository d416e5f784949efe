"""Claude with whole answers: retries, fallback models, circuit breakers, continued streams, known cost.

Importing this does not import anthropic; the first call (or :meth:`Client.start`) does. The path of one call, in the
order in which its parts are entered (``tests/llm/test_path.py`` traces it)::

    Client.create                            Client.stream
      Call                 options, deadline   Call
      run_whole            until it is whole   Stream.advance       until it is whole
        Call.next          the next model        Call.next
          FallbackChain.step                       FallbackChain.step
          ModelState.hold                          ModelState.hold
          Call._admit      queue, permit           Call._admit
            OpenAttempt                              OpenAttempt
        SdkProvider.send                         StreamAttempt.open
        OpenAttempt.settle                         SdkProvider.send
          Report.record                          Assembler.feed     text, without repeated words
      Report.answer                              OpenAttempt.settle
                                               Report.answer
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.errors import LlmError as LlmError
    from prodkit.llm.batches import Batch as Batch, Batches as Batches, BatchResult as BatchResult
    from prodkit.llm.cached import AnswerCache as AnswerCache
    from prodkit.llm.client import Client as Client
    from prodkit.llm.context_window import Fitted as Fitted, fit as fit
    from prodkit.llm.errors import (
        LlmCauseError as LlmCauseError,
        LlmCircuitOpenError as LlmCircuitOpenError,
        LlmDeadlineError as LlmDeadlineError,
        LlmRateLimitedError as LlmRateLimitedError,
        LlmTimeoutError as LlmTimeoutError,
    )
    from prodkit.llm.events import (
        LlmAttempt as LlmAttempt,
        LlmFinished as LlmFinished,
        LlmLedgerDelayed as LlmLedgerDelayed,
        LlmScheduled as LlmScheduled,
    )
    from prodkit.llm.files import Files as Files, StoredFile as StoredFile
    from prodkit.llm.ledger import Ledger as Ledger, LedgerRow as LedgerRow
    from prodkit.llm.middleware import ResilienceMiddleware as ResilienceMiddleware
    from prodkit.llm.models import ModelInfo as ModelInfo, Models as Models
    from prodkit.llm.options import Model as Model
    from prodkit.llm.pricing import Budget as Budget, Price as Price
    from prodkit.llm.provider import Provider as Provider, Reply as Reply
    from prodkit.llm.providers import (
        Anthropic as Anthropic,
        Bedrock as Bedrock,
        Foundry as Foundry,
        Gateway as Gateway,
        Vertex as Vertex,
    )
    from prodkit.llm.results import (
        Answer as Answer,
        Attempt as Attempt,
        Continuation as Continuation,
        Usage as Usage,
    )
    from prodkit.llm.streaming.stream import Stream as Stream
    from prodkit.llm.streaming.typed import (
        AttemptEvent as AttemptEvent,
        BlockEvent as BlockEvent,
        CitationEvent as CitationEvent,
        ContinuedEvent as ContinuedEvent,
        OtherEvent as OtherEvent,
        TextEvent as TextEvent,
        ThinkingEvent as ThinkingEvent,
        ToolInputEvent as ToolInputEvent,
        UsageEvent as UsageEvent,
    )
    from prodkit.llm.structured import Parsed as Parsed
    from prodkit.llm.tools import Tool as Tool, ToolRun as ToolRun
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            ".errors": ("LlmError",),
            "batches": ("Batch", "BatchResult", "Batches"),
            "cached": ("AnswerCache",),
            "client": ("Client",),
            "errors": (
                "LlmCauseError",
                "LlmCircuitOpenError",
                "LlmDeadlineError",
                "LlmRateLimitedError",
                "LlmTimeoutError",
            ),
            "events": ("LlmAttempt", "LlmFinished", "LlmLedgerDelayed", "LlmScheduled"),
            "context_window": ("Fitted", "fit"),
            "files": ("Files", "StoredFile"),
            "ledger": ("Ledger", "LedgerRow"),
            "middleware": ("ResilienceMiddleware",),
            "models": ("ModelInfo", "Models"),
            "options": ("Model",),
            "pricing": ("Budget", "Price"),
            "provider": ("Provider", "Reply"),
            "providers": ("Anthropic", "Bedrock", "Foundry", "Gateway", "Vertex"),
            "results": ("Answer", "Attempt", "Continuation", "Usage"),
            "streaming.stream": ("Stream",),
            "streaming.typed": (
                "AttemptEvent",
                "BlockEvent",
                "CitationEvent",
                "ContinuedEvent",
                "OtherEvent",
                "TextEvent",
                "ThinkingEvent",
                "ToolInputEvent",
                "UsageEvent",
            ),
            "structured": ("Parsed",),
            "tools": ("Tool", "ToolRun"),
        },
    )
