"""The demo's model: the simulator's advice, and the JSON of an expert's draft where that is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from advisory.research.prompts import DRAFT_MARK
from prodkit.testing.anthropic.answers import answer_function

__all__ = ["reply"]

_council = answer_function("council")


def reply(body: Mapping[str, Any]) -> str | list[dict[str, Any]]:
    """Reply to a request of the Messages API: for ``Simulator(answers="advisory.demo.answers:reply")``."""
    if DRAFT_MARK not in str(body.get("system", "")):
        return _council(body)
    subject = str(body["messages"][-1]["content"])
    name = json.loads(subject[subject.index("{") : subject.index("}") + 1]).get("nome", "esta pessoa")
    draft = {
        "papel": "escreve e fala sobre como pessoas decidem",
        "objetivos": "Mostrar o que muda quando se testa pequeno, e tirar a decisão do campo da fé.",
        "estilo": "Direta, com exemplos do dia a dia e uma pergunta no fim.",
        "resumo": f"As fontes falam do trabalho de {name} e pouco dizem sobre como trata casos particulares.",
    }
    return f"```json\n{json.dumps(draft, ensure_ascii=False)}\n```"
