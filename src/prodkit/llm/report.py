"""The report of one call: its records, its events, its totals and its error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prodkit.errors import LlmError
from prodkit.llm.engine import Engine
from prodkit.llm.errors import (
    LlmCauseError,
    LlmCircuitOpenError,
    LlmDeadlineError,
    LlmRateLimitedError,
    LlmTimeoutError,
)
from prodkit.llm.events import LlmAttempt, LlmFinished, LlmScheduled
from prodkit.llm.failures import Failure
from prodkit.llm.fallback_chain import GiveUp
from prodkit.llm.redaction import clean
from prodkit.llm.results import Answer, Attempt, Continuation, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Report"]


@dataclass(slots=True)
class Report:
    """Collects the records of one call, emits its events, and makes the answer or the error that ends it.

    Args:
        engine: the state of the client.
        params: the body of the request; nothing of it gets into an error.
        operation: named in the events.
        requested: the label of the model that was asked for.
        caller: the name given as ``caller=``.
        began: the instant at which the call began.
        id: the id that all events of the call share.
        attempts: the records of the requests that have ended.
        ended: the end of the call was emitted.
    """

    engine: Engine
    params: Mapping[str, Any]
    operation: str
    requested: str
    caller: str
    began: float
    id: str
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    ended: bool = False

    def record(self, attempt: Attempt, failure: Failure | None) -> None:
        """Keep the record of an HTTP request that has ended, and emit it."""
        self.attempts.append(attempt)
        if (events := self.engine.runtime.events).listened(LlmAttempt):
            events.emit(
                LlmAttempt(
                    call_id=self.id,
                    attempt=attempt,
                    model=attempt.model,
                    outcome=attempt.outcome,
                    duration=attempt.duration,
                    fallback_from=self.requested if attempt.model != self.requested else "",
                    alert=failure is not None and attempt.outcome != "cancelled" and failure.verdict.alert,
                )
            )

    def scheduled(
        self, model: str, *, attempt: int, attempts: int, wait: float, reason: str, after: str
    ) -> None:
        """Emit that an attempt waits.

        Args:
            model: the label of the model that will be asked.
            attempt: its number for this model.
            attempts: the most for this model.
            wait: seconds.
            reason: why it waits.
            after: the code of the failure before it.
        """
        if (events := self.engine.runtime.events).listened(LlmScheduled):
            events.emit(
                LlmScheduled(
                    call_id=self.id,
                    model=model,
                    attempt=attempt,
                    attempts=attempts,
                    wait=wait,
                    reason=reason,
                    after=after,
                    caller=self.caller,
                )
            )

    def totals(self) -> tuple[Usage, float | None]:
        """Return usage and cost, summed over the attempts; the cost is None where a price is not known."""
        attempts = self.attempts
        if len(attempts) == 1:
            return attempts[0].usage, attempts[0].cost
        usage, cost = Usage(), 0.0
        known = True
        for attempt in attempts:
            usage += attempt.usage
            if attempt.cost is None:
                known = False
            else:
                cost += attempt.cost
        return usage, cost if known else None

    def finished(
        self, outcome: str, *, model: str = "", stop_reason: str | None = None, cached: bool = False
    ) -> None:
        """Emit the end of the call, once."""
        if self.ended:
            return
        self.ended = True
        if (events := self.engine.runtime.events).listened(LlmFinished):
            usage, cost = self.totals()
            first = next((a.first_content for a in self.attempts if a.first_content is not None), None)
            events.emit(
                LlmFinished(
                    call_id=self.id,
                    operation=self.operation,
                    outcome=outcome,
                    model=model or (self.attempts[-1].model if self.attempts else self.requested),
                    requested_model=self.requested,
                    attempts=len(self.attempts),
                    duration=self.engine.now() - self.began,
                    first_content=first,
                    usage=usage,
                    cost=cost,
                    stop_reason=stop_reason,
                    streamed=self.operation == "stream",
                    cached=cached,
                    caller=self.caller,
                )
            )

    # ------------------------------------------------------------------ results
    def answer(
        self, message: dict[str, Any], model: str, continuations: tuple[Continuation, ...] = ()
    ) -> Answer:
        """Return the answer that ends the call, and emit the end.

        Args:
            message: the whole message.
            model: the label of the model that gave it.
            continuations: the joints of a resumed answer.
        """
        usage, cost = self.totals()
        text = ""
        for block in message["content"]:
            if block["type"] == "text":
                text += block.get("text") or ""
        answer = Answer(
            text=text,
            model=model,
            requested_model=self.requested,
            usage=usage,
            attempts=tuple(self.attempts),
            stop_reason=message.get("stop_reason"),
            cost=cost,
            message=message,
            continuations=continuations,
        )
        self.finished("ok", model=model, stop_reason=answer.stop_reason)
        return answer

    def error(
        self, failure: Failure | None, end: GiveUp | None = None, partial: Mapping[str, Any] | None = None
    ) -> LlmError:
        """Return the error that ends the call, and emit the end.

        Args:
            failure: the last failure; None when nothing could be sent.
            end: why no model is left.
            partial: the message that had arrived.
        """
        kind, code = _kind(failure, end)
        retry_after = end.retry_after if end else None
        if failure is not None and failure.retry_after is not None and retry_after is None:
            retry_after = failure.retry_after
        if retry_after == math.inf:
            retry_after = None
        self.finished(code)
        detail = "" if failure is None else clean(failure.detail, self.params, self.engine.key)
        error = kind(
            self._sentence(failure, code, retry_after, detail),
            retry_after=retry_after,
            attempts=tuple(self.attempts),
            partial=partial,
            code=code,
        )
        if failure is not None and kind is LlmError:  # the kinds with another base say by that what they are
            error.outcome = failure.verdict.outcome
        if failure is not None and (failure.error_type or detail):
            error.__cause__ = LlmCauseError(failure.error_type or code, detail)
        return error

    def _sentence(self, failure: Failure | None, code: str, retry_after: float | None, detail: str) -> str:
        if failure is None and not self.attempts:
            names = ", ".join(state.model.label for state in self.engine.states)
            sentence = f"no model of {names} can be asked now ({code})"
            return sentence if retry_after is None else f"{sentence}; try again in {retry_after:.0f} s"
        took = self.engine.now() - self.began
        sentence = f"no whole answer ({code}) after {len(self.attempts)} request(s) in {took:.1f} s"
        sentence += f" [{tried}]" if (tried := _tried(self.attempts)) else ""
        return f"{sentence}: {detail}" if detail else sentence


def _tried(attempts: Sequence[Attempt]) -> str:
    tried: dict[str, list[str]] = {}
    for attempt in attempts:
        status = f" {attempt.status}" if attempt.status not in (None, 200) else ""
        tried.setdefault(attempt.model, []).append(f"{attempt.outcome}{status}")
    return "; ".join(f"{model}: {', '.join(outcomes)}" for model, outcomes in tried.items())


def _kind(failure: Failure | None, end: GiveUp | None) -> tuple[type[LlmError], str]:
    if failure is None:
        if end is not None and "open" in end.reasons:
            return LlmCircuitOpenError, "circuit_open"
        return LlmRateLimitedError, "rate_limited"
    if failure.code == "timeout":
        return LlmTimeoutError, failure.code
    if failure.code == "deadline":
        return LlmDeadlineError, failure.code
    return LlmError, failure.code
