"""The user's texts about a research: sources, statuses, milestones, reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from advisory.research.model import EXTERNAL, Research, ResearchStatus, SourceStatus

__all__ = ["RESEARCH_LABELS", "SOURCE_LABELS", "STEP_LABELS", "day", "milestone", "standing"]

SOURCE_LABELS: Final[Mapping[str, str]] = {
    "web": "Busca na web (Perplexity)",
    "videos": "Vídeos (YouTube)",
    "photo": "Foto ilustrativa (Unsplash)",
    "profile": "Perfil escrito pelo modelo",
}
_SHORT: Final[Mapping[str, str]] = {
    "web": "a busca na web",
    "videos": "os vídeos",
    "photo": "a foto",
    "profile": "o perfil",
}
STEP_LABELS: Final[Mapping[SourceStatus, str]] = {
    "waiting": "na fila",
    "running": "consultando",
    "done": "concluído",
    "failed": "sem resposta",
    "unset": "não configurada",
    "stopped": "interrompido",
}
RESEARCH_LABELS: Final[Mapping[ResearchStatus, str]] = {
    "queued": "Na fila",
    "running": "Em andamento",
    "done": "Concluído",
    "partial": "Parcial",
    "failed": "Sem resultado",
    "stopped": "Interrompido",
}


def milestone(kind: str, data: Mapping[str, Any]) -> str:
    """The sentence for the status region: one per event that a person wants to hear about, else nothing."""
    source = _SHORT.get(str(data.get("name", "")), "")
    match kind:
        case "research.started":
            return "Retomando de onde parou…" if data.get("resumed") else "A pesquisa começou."
        case "source.done":
            return f"{_capital(source)}: concluído."
        case "source.failed":
            return f"{_capital(source)}: sem resposta ({data.get('reason', '')})."
        case "profile.started":
            return "As fontes foram consultadas. O perfil está sendo escrito…"
        case _:
            return ""


def standing(research: Research) -> str:
    """One sentence on where a research stands, or how it ended: what there is, what is missing and why."""
    if research.status == "queued":
        return "Na fila: a pesquisa começa em instantes."
    if not research.finished:
        return f"{research.settled} de {len(research.steps)} etapas concluídas…"
    if research.status == "done":
        return "Concluído: as três fontes responderam."
    if research.status == "stopped":
        return f"Você interrompeu a pesquisa. O que já veio está guardado ({_of_three(research)})."
    missing = _missing(research)
    if research.status == "failed":
        return f"Nenhuma fonte respondeu. {missing}"
    return f"Parcial ({_of_three(research)}). {missing}"


def _of_three(research: Research) -> str:
    return f"{research.found} de {len(EXTERNAL)} fontes"


def _missing(research: Research) -> str:
    """``Faltaram a foto e os vídeos: reason``: a reason that several share is said once."""
    reasons: dict[str, list[str]] = {}
    for step in research.steps:
        if step.status in ("failed", "unset", "stopped"):
            reason = step.reason or STEP_LABELS[step.status]
            reasons.setdefault(reason, []).append(_SHORT[step.name])
    if not reasons:
        return ""
    parts = [f"{_names(names)}: {reason}" for reason, names in reasons.items()]
    single = sum(map(len, reasons.values())) == 1
    return f"{'Faltou' if single else 'Faltaram'} {'; '.join(parts)}."


def day(text: str) -> str:
    """``2026-01-31`` as it is written in Brazil; what is no day stays as it is."""
    try:
        return date.fromisoformat(text[:10]).strftime("%d/%m/%Y")
    except ValueError:
        return text


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} e {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
