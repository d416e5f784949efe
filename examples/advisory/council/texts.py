"""The user's texts about a council: milestones, reasons, statuses. One place, one voice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from advisory.council.model import Run, RunStatus, SeatStatus
from prodkit.errors import (
    BudgetExceededError,
    BulkheadFullError,
    CallTimeoutError,
    CircuitOpenError,
    LlmError,
    RateLimitedError,
)

__all__ = [
    "RUN_LABELS",
    "SEAT_LABELS",
    "banner",
    "clock",
    "is_outage",
    "milestone",
    "reason_for",
    "second",
    "standing",
    "waiting_reason",
]

_BRASILIA = timezone(timedelta(hours=-3))
SEAT_LABELS: Final[Mapping[SeatStatus, str]] = {
    "waiting": "na fila",
    "running": "analisando",
    "done": "concluído",
    "failed": "não respondeu",
    "stopped": "interrompido",
}
RUN_LABELS: Final[Mapping[RunStatus, str]] = {
    "queued": "Na fila",
    "running": "Em andamento",
    "done": "Concluído",
    "partial": "Concluído em parte",
    "unsynthesised": "Síntese pendente",
    "no_quorum": "Quórum insuficiente",
    "stopped": "Interrompido",
}


def reason_for(error: BaseException) -> str:
    """The reason for a missing answer, in the user's words, without codes, addresses or secrets."""
    if isinstance(error, CircuitOpenError):
        if error.retry_after is None:
            return "o serviço de IA está em pausa depois de várias falhas seguidas"
        again = datetime.now(_BRASILIA) + timedelta(seconds=error.retry_after)
        return (
            f"o serviço de IA está em pausa depois de várias falhas seguidas; nova tentativa às {again:%H:%M}"
        )
    if isinstance(error, RateLimitedError | BulkheadFullError):
        return "o serviço de IA atingiu o limite de uso"
    if isinstance(error, BudgetExceededError):
        return "o limite de gasto foi alcançado"
    if isinstance(error, CallTimeoutError):
        return "a resposta demorou mais que o limite"
    if isinstance(error, LlmError):
        return _LLM_REASONS.get(error.code, "o serviço de IA não respondeu como devia")
    return "houve um erro inesperado, que foi registrado"


_LLM_REASONS: Final[Mapping[str, str]] = {
    "overloaded": "o modelo está sobrecarregado",
    "server_error": "o serviço de IA falhou",
    "connection": "não foi possível falar com o serviço de IA",
    "truncated": "a resposta veio incompleta",
    "no_overlap": "a continuação não combinou com o que já tinha chegado",
    "bad_response": "a resposta veio em um formato inesperado",
    "rate_limited": "o serviço de IA atingiu o limite de uso",
    "spend_limit": "o limite de gasto do serviço de IA foi alcançado",
    "billing": "o limite de gasto do serviço de IA foi alcançado",
    "authentication": "o serviço de IA recusou a nossa credencial",
    "permission": "o serviço de IA recusou a nossa credencial",
    "not_found": "o modelo configurado não existe mais",
    "invalid_request": "o serviço de IA não aceitou o pedido",
    "too_large": "a pergunta ficou grande demais para o modelo",
    "refusal": "o modelo preferiu não responder a esta pergunta",
}


_OUTAGES: Final = frozenset(
    {"overloaded", "server_error", "connection", "rate_limited", "timeout", "deadline"}
)


def is_outage(error: BaseException) -> bool:
    """True when the service failed and not the question: an open breaker, an overloaded model, no connection."""
    if isinstance(error, CircuitOpenError | RateLimitedError | BulkheadFullError | CallTimeoutError):
        return True
    return isinstance(error, LlmError) and error.code in _OUTAGES


def second(value: datetime) -> str:
    """``20:15:30`` in Brasília."""
    return value.astimezone(_BRASILIA).strftime("%H:%M:%S")


def clock(wait: float) -> str:
    """``20:15:30`` in Brasília, `wait` seconds from now."""
    return (datetime.now(_BRASILIA) + timedelta(seconds=wait)).strftime("%H:%M:%S")


def waiting_reason(code: str) -> str:
    """Why an attempt waits, for the card of a seat."""
    reason = _LLM_REASONS.get(code, "o serviço de IA pediu para esperar")
    return reason[0].upper() + reason[1:]


def milestone(kind: str, data: Mapping[str, Any]) -> str:
    """The sentence for the status region: one per event that a person wants to hear about, else nothing."""
    name, settled, total = data.get("name", ""), data.get("settled", 0), data.get("total", 0)
    match kind:
        case "run.started":
            return (
                "Retomando de onde parou…"
                if data.get("resumed")
                else f"O conselho começou: {_experts(total)}."
            )
        case "seat.done":
            return f"Especialista {settled} de {total}: {name} respondeu."
        case "seat.failed":
            return f"Especialista {settled} de {total}: {name} não respondeu ({data.get('reason', '')})."
        case "reviews.started":
            return "Todos foram ouvidos. Agora cada um avalia os pareceres dos outros, sem saber de quem são…"
        case "chair.started":
            if data.get("resumed"):
                return "A síntese continua de onde parou…"
            return "Todos foram ouvidos. A síntese está sendo escrita…"
        case "chair.done":
            return (
                "A síntese está escrita. Os pareceres estão sendo comparados…" if data.get("compared") else ""
            )
        case "run.finished":
            return str(data.get("message", ""))
        case _:
            return ""


def standing(run: Run) -> str:
    """The status region when a page is opened: what the milestones so far add up to."""
    tally = run.tally
    if run.finished:
        return banner(run)
    if run.status == "queued":
        return "Na fila: o conselho começa em instantes."
    if tally.settled == tally.total:
        return "Todos foram ouvidos. A síntese está sendo escrita…"
    return f"Especialista {tally.settled} de {tally.total}: ouvindo o conselho…"


def banner(run: Run) -> str:
    """One sentence on how a finished run ended: what there is, what is missing and why."""
    tally = run.tally
    count = f"{tally.done} de {tally.total}"
    reasons: dict[str, list[str]] = {}
    for seat in run.seats:
        if seat.status == "failed":
            reasons.setdefault(seat.reason, []).append(seat.name)
    failed = [f"{_names(names)}: {reason}" for reason, names in reasons.items()]
    single = sum(map(len, reasons.values())) == 1
    missing = f"{'Faltou' if single else 'Faltaram'} {'; '.join(failed)}."
    match run.status:
        case "done":
            return f"Síntese pronta, com {_experts(tally.total)}."
        case "partial":
            return f"Síntese pronta com {count} especialistas. {missing}"
        case "unsynthesised":
            tail = f" {missing}" if failed else ""
            what = "Síntese incompleta" if run.synthesis else "Síntese pendente"
            return f"{what}: {run.synthesis_reason}. Os pareceres ({count}) estão guardados.{tail}"
        case "no_quorum":
            return f"Quórum insuficiente: {count} especialistas responderam. {missing}"
        case "stopped":
            return f"Você interrompeu o conselho. Pareceres guardados: {count}."
        case _:
            return ""


def _names(names: Sequence[str]) -> str:
    """``Ana, Bia e Caio``: a reason that several share is said once."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} e {names[-1]}"


def _experts(count: int) -> str:
    return "um especialista" if count == 1 else f"{count} especialistas"
