"""What the client tells: one ``llm.attempt`` for each HTTP request, one ``llm.finished`` for each call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prodkit.core.events import Event, Metric
from prodkit.llm.records import Usage

__all__ = ["LlmAttempt", "LlmFinished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmAttempt(Event):
    """One HTTP request has ended. ``outcome`` is "ok", "cancelled" or the code of the failure."""

    name: ClassVar[str] = "llm.attempt"
    level = "INFO"
    metric = Metric(
        "llm_attempt_seconds",
        "histogram",
        ("model", "outcome"),
        value="duration",
        unit="seconds",
        help="Duration of one HTTP request to a model.",
    )
    call_id: str
    number: int
    model: str
    outcome: str
    status: int | None
    request_id: str
    error_type: str
    waited: float
    wait_reason: str
    first_content: float | None
    duration: float
    usage: Usage
    cost: float | None
    resumed: bool
    hedge: bool
    breaker: str
    fallback_from: str
    alert: bool

    def attributes(self) -> dict[str, str | int | float | bool]:
        """The OpenTelemetry GenAI attributes of this request."""
        told = _attributes(self.model, self.usage, "" if self.outcome == "ok" else self.outcome)
        told["http.request.resend_count"] = self.number - 1
        if self.status is not None:
            told["http.response.status_code"] = self.status
        if self.request_id:
            told["gen_ai.response.id"] = self.request_id
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmFinished(Event):
    """One call has ended. ``outcome`` is "ok", "cancelled", "closed" (a stream left early) or the failure's code."""

    name: ClassVar[str] = "llm.finished"
    level = "INFO"
    metric = (
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

    def attributes(self) -> dict[str, str | int | float | bool]:
        """The OpenTelemetry GenAI attributes of this call."""
        failed = "" if self.outcome in ("ok", "closed") else self.outcome
        told = _attributes(self.requested_model, self.usage, failed)
        told["gen_ai.response.model"] = self.model
        if self.stop_reason:
            told["gen_ai.response.finish_reasons"] = self.stop_reason
        return told


def _attributes(model: str, usage: Usage, failed: str) -> dict[str, str | int | float | bool]:
    told: dict[str, str | int | float | bool] = {
        "gen_ai.provider.name": "anthropic",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }
    if failed:
        told["error.type"] = failed
    return told
