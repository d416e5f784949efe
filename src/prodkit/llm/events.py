"""Events of the client: ``llm.scheduled`` before a wait, ``llm.attempt`` after each HTTP request, and one
``llm.finished`` for each call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from prodkit.core.events import Event, Level, Metric, Metrics
from prodkit.llm.results import Attempt, Usage

__all__ = ["LlmAttempt", "LlmFinished", "LlmLedgerDelayed", "LlmScheduled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmScheduled(Event):
    """An attempt is to be sent after a wait. It is emitted in the caller's task, so context variables are the caller's.

    Args:
        call_id: the id that all events of one call share.
        model: the label of the model that will be asked.
        attempt: the number of the attempt for this model, counted from 1.
        attempts: the most attempts for this model.
        wait: seconds until it is sent; a full queue can make it longer.
        reason: "backoff", "retry_after" or "rate".
        after: the code of the failure before it, "" when nothing has failed yet.
        caller: the name given as ``caller=``.
    """

    name: ClassVar[str] = "llm.scheduled"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric(
        "llm_waits", labels=("model", "reason"), help="Attempts that were scheduled after a wait."
    )
    call_id: str
    model: str
    attempt: int
    attempts: int
    wait: float
    reason: str
    after: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmAttempt(Event):
    """An HTTP request has ended.

    The fields of `attempt` can be read from the event itself: ``event.model``, ``event.outcome``.

    Args:
        call_id: the id that all events of one call share.
        attempt: the record of the request.
        model: the label of its model; like the next two it labels the metric.
        outcome: "ok", "cancelled" or the code of the failure.
        duration: seconds from sending to the end.
        fallback_from: the label of the requested model where this is another one, else "".
        alert: an operator has to act: a key, a bill, a retired model.
    """

    name: ClassVar[str] = "llm.attempt"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric(
        "llm_attempt_seconds",
        "histogram",
        ("model", "outcome"),
        value="duration",
        unit="seconds",
        help="Duration of one HTTP request to a model.",
    )
    call_id: str
    attempt: Attempt
    model: str
    outcome: str
    duration: float
    fallback_from: str
    alert: bool

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "attempt":
            raise AttributeError(name)
        return getattr(self.attempt, name)

    def attributes(self) -> dict[str, str | int | float | bool]:
        """Return the OpenTelemetry GenAI attributes of this request."""
        attempt = self.attempt
        found = _attributes(attempt.model, attempt.usage, "" if attempt.ok else attempt.outcome)
        found["http.request.resend_count"] = attempt.number - 1
        if attempt.status is not None:
            found["http.response.status_code"] = attempt.status
        if attempt.request_id:
            found["gen_ai.response.id"] = attempt.request_id
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmFinished(Event):
    """A call has ended.

    Args:
        call_id: the id that all events of one call share.
        operation: "create", "stream", "count_tokens" and so on.
        outcome: "ok", "cancelled", "closed" (a stream left early) or the code of the failure.
        model: the label of the model that finished it, or was asked last.
        requested_model: the label of the model that was asked first.
        attempts: HTTP requests.
        duration: seconds.
        first_content: seconds from sending to the first content, of a stream.
        usage: token counts, summed over the attempts.
        cost: US dollars, None where a price is not known.
        stop_reason: the API's reason why the model stopped.
        streamed: it was a stream.
        cached: the answer came from the cache.
        caller: the name given as ``caller=``, such as a tenant.
    """

    name: ClassVar[str] = "llm.finished"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = (
        Metric(
            "llm_call_seconds",
            "histogram",
            ("model", "outcome"),
            value="duration",
            unit="seconds",
            help="Duration of one call, all attempts included.",
        ),
        Metric(
            "llm_cost_dollars", labels=("model",), value="cost", unit="dollars", help="Cost of the calls."
        ),
    )
    call_id: str
    operation: str
    outcome: str
    model: str
    requested_model: str
    attempts: int
    duration: float
    first_content: float | None
    usage: Usage
    cost: float | None
    stop_reason: str | None
    streamed: bool
    cached: bool
    caller: str = ""

    def attributes(self) -> dict[str, str | int | float | bool]:
        """Return the OpenTelemetry GenAI attributes of this call."""
        failed = "" if self.outcome in ("ok", "closed") else self.outcome
        found = _attributes(self.requested_model, self.usage, failed)
        found["gen_ai.response.model"] = self.model
        if self.stop_reason:
            found["gen_ai.response.finish_reasons"] = self.stop_reason
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmLedgerDelayed(Event):
    """Costs cannot be written to the ledger's database; they are kept and written when it is back.

    Args:
        rows: the number that waits.
        error_type: the class of the database's error.
    """

    name: ClassVar[str] = "llm.ledger_delayed"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric("llm_ledger_delays", help="Outages of the ledger's database.")
    rows: int
    error_type: str


def _attributes(model: str, usage: Usage, failed: str) -> dict[str, str | int | float | bool]:
    found: dict[str, str | int | float | bool] = {
        "gen_ai.provider.name": "anthropic",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }
    if failed:
        found["error.type"] = failed
    return found
