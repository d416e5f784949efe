"""The simulated model of the demo: opinions and syntheses in Portuguese, and JSON where a schema is asked for."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Any, Final

from advisory.research.prompts import DRAFT_MARK, PROFILE_MARK
from prodkit.testing.anthropic.answers import answer_function, last_user_text

__all__ = ["council"]

_PROSE: Final = answer_function("council")
_POINTS: Final = (
    ("Convém testar em pequeno antes de decidir tudo.", "Todos pedem um passo que se possa desfazer."),
    ("O momento certo é agora.", "Uns temem perder a ocasião; outros, o caixa no pior mês."),
    (
        "O maior risco está nas pessoas, não no dinheiro.",
        "Depende de quem vai carregar a decisão no dia a dia.",
    ),
    ("É preciso um critério de parada escrito.", "Sem data e número, a dúvida volta todo mês."),
)


def council(body: Mapping[str, Any]) -> str:
    """The reply to one request of the app."""
    config = body.get("output_config") or {}
    schema = (config.get("format") or {}).get("schema")
    if not schema:
        if DRAFT_MARK in str(body.get("system", "")):
            return _draft(last_user_text(body))
        if PROFILE_MARK in str(body.get("system", "")):
            return _profile(last_user_text(body))
        found = _PROSE(body)
        assert isinstance(found, str)
        return found
    text = last_user_text(body)
    chance = random.Random(text + json.dumps(body.get("system", ""), ensure_ascii=False))
    wanted = schema.get("properties", {})
    if "ranking" in wanted:
        labels = re.findall(r'"rotulo": "([A-Z]+)"', text)
        chance.shuffle(labels)
        return json.dumps({"ranking": labels})
    if "pontos" in wanted:
        numbers = [int(each) for each in re.findall(r'"numero": (\d+)', text)]
        return json.dumps({"pontos": _points(numbers, chance)}, ensure_ascii=False)
    found = _PROSE(body)
    assert isinstance(found, str)
    return found


def _draft(text: str) -> str:
    """The draft of an expert, in a code fence as models like to send it."""
    name = json.loads(text[text.index("{") : text.index("}") + 1]).get("nome", "esta pessoa")
    draft = {
        "papel": "escreve e fala sobre como pessoas decidem",
        "objetivos": "Mostrar o que muda quando se testa pequeno, e tirar a decisão do campo da fé.",
        "estilo": "Direta, com exemplos do dia a dia e uma pergunta no fim.",
        "resumo": f"As fontes falam do trabalho de {name} e pouco dizem sobre como trata casos particulares.",
    }
    return f"```json\n{json.dumps(draft, ensure_ascii=False)}\n```"


def _profile(text: str) -> str:
    """The profile of a persona, from what the simulated sources say."""
    about = json.loads(text[text.index("{") : text.index("}") + 1])
    said = re.findall(r"Fontes públicas dizem que ([^\[]+) \[", text)
    lines = "\n".join(f"- {each[:1].upper()}{each[1:]}." for each in said)
    return (
        f"**Quem é.** {about.get('nome', 'A persona')}: {about.get('descrição', '')}\n\n"
        f"### O que a faz decidir\n\n{lines or '- As fontes não dizem.'}\n\n"
        "### O que a afasta\n\n- Promessas sem prazo, e ter de explicar a mesma coisa duas vezes.\n\n"
        "### Como falar com ela\n\nEm frases curtas, com o preço e o prazo logo no começo.\n\n"
        "*As fontes não permitem saber renda, família nem saúde.*"
    )


def _points(numbers: list[int], chance: random.Random) -> list[dict[str, Any]]:
    made = []
    for n, (text, note) in enumerate(_POINTS):
        shuffled = chance.sample(numbers, len(numbers))
        agree = numbers if n == 0 else sorted(shuffled[: (len(numbers) + 1) // 2])
        disagree = [each for each in sorted(numbers) if each not in agree]
        made.append({"ponto": text, "concordam": list(agree), "discordam": disagree, "nota": note})
    return made
