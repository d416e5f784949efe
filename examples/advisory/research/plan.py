"""The remaining work and the outcome of a research. Pure: a resumed one is decided like a new one."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from advisory.research.model import EXTERNAL, PROFILE, ResearchStatus, Step

__all__ = ["Draft", "draft_from", "has_material", "outcome", "read_draft", "to_fetch"]


def to_fetch(steps: Sequence[Step]) -> tuple[str, ...]:
    """The outside sources without a result. One that answered before a crash is not asked again."""
    return tuple(step.name for step in steps if step.name in EXTERNAL and not step.settled)


def has_material(steps: Sequence[Step]) -> bool:
    """True when a source gave text to write a profile from: a photo alone says nothing about anybody."""
    return any(step.status == "done" and step.text for step in steps if step.name in ("web", "videos"))


def outcome(steps: Sequence[Step]) -> ResearchStatus:
    """The final status, once every step has a result."""
    if any(not step.settled for step in steps):
        raise ValueError("a research with steps that were not made has no outcome yet")
    good = {step.name for step in steps if step.status == "done"}
    if not good & set(EXTERNAL):
        return "failed"
    return "done" if good >= {*EXTERNAL, PROFILE} else "partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An expert as the model proposes it, for a person to correct."""

    role: str
    goals: str
    style: str
    summary: str = ""

    def as_text(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


_LIMITS = {"role": 120, "goals": 600, "style": 400, "summary": 4000}
_KEYS = {"papel": "role", "objetivos": "goals", "estilo": "style", "resumo": "summary"}


def draft_from(answer: str) -> Draft | None:
    """Reads the JSON object of a model's answer, with or without a code fence; None when there is none."""
    found = re.search(r"\{.*\}", answer, re.DOTALL)
    if found is None:
        return None
    try:
        data = json.loads(found[0])
    except ValueError:
        return None
    fields = {
        own: " ".join(data[theirs].split())[: _LIMITS[own]]
        if own != "summary"
        else data[theirs].strip()[:4000]
        for theirs, own in _KEYS.items()
        if isinstance(data.get(theirs), str)
    }
    if not fields.get("role") or not fields.get("goals"):
        return None
    return Draft(**{"style": "", **fields})


def read_draft(text: str) -> Draft:
    """The draft as it was stored."""
    return Draft(**json.loads(text))
