"""The texts of the simulated model: plain functions from a request body to a text or to content blocks."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, TypeAlias

__all__ = ["AnswerFunction", "answer_function", "last_user_text", "numbered"]

Body: TypeAlias = Mapping[str, Any]
AnswerFunction: TypeAlias = Callable[[Body], "str | list[dict[str, Any]]"]


def text_of(content: Any) -> str:
    """The text in a `content` value of the Messages API: a string, or a list of blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(str(b.get("text", "")) for b in content if isinstance(b, dict) and b.get("type") == "text")


def last_user_text(body: Body) -> str:
    """The text of the last user message."""
    for message in reversed(body.get("messages") or []):
        if message.get("role") == "user":
            return text_of(message.get("content"))
    return ""


def numbered(count: int, seed: str = "") -> str:
    """`count` words that never repeat, so that a lost or doubled character shows; others for another `seed`."""
    tag = hashlib.sha256(seed.encode()).hexdigest()[:4]
    return " ".join(f"{tag}w{n}" for n in range(count))


def words(body: Body) -> str:
    """Forty numbered words, others for each conversation."""
    return numbered(40, last_user_text(body))


def echo(body: Body) -> str:
    """The last user message, unchanged."""
    return last_user_text(body) or "…"


_OPENINGS: Final = (
    "Do meu ponto de vista",
    "Pela minha experiência",
    "Antes de mais nada",
    "Olhando com calma",
    "Sem rodeios",
)
_LENSES: Final = (
    (
        ("financ", "econom", "custo", "investi", "cfo"),
        "o caixa",
        "quanto custa errar e em quanto tempo o retorno paga o risco",
    ),
    (
        ("market", "marca", "vend", "cliente", "growth"),
        "quem compra",
        "que dor concreta isto resolve e com que palavras o cliente a descreve",
    ),
    (
        ("tecn", "engenh", "softw", "cto", "dados"),
        "a execução técnica",
        "o que dá para validar em duas semanas com o menor sistema possível",
    ),
    (
        ("jur", "advog", "legal", "lei", "compliance"),
        "o risco jurídico",
        "que obrigações nascem com a decisão e quem responde por elas",
    ),
    (
        ("psic", "pesso", "rh", "lider", "cultura"),
        "as pessoas",
        "quem precisa mudar de comportamento e o que essa pessoa ganha com isso",
    ),
    (
        ("estrat", "ceo", "negóc", "negoc", "empreend"),
        "a estratégia",
        "o que deixaremos de fazer para que isto dê certo",
    ),
    (
        ("filos", "estoic", "ética", "etica"),
        "o que está sob o nosso controle",
        "que princípio queremos honrar mesmo que o resultado não venha",
    ),
)
_DEFAULT_LENS: Final = ("o essencial", "qual é o menor passo que nos ensina alguma coisa")
_STEPS: Final = (
    "Converse com cinco pessoas afetadas antes de decidir e anote as palavras exatas delas.",
    "Escreva em uma frase o que precisa ser verdade para a ideia funcionar, e teste só isso.",
    "Defina agora o sinal que fará você parar, com data e número.",
    "Separe o que é reversível do que não é; decida rápido o primeiro e devagar o segundo.",
    "Faça uma versão pequena, com prazo de trinta dias e um responsável com nome.",
    "Compare com a alternativa de não fazer nada: ela também tem um preço.",
    "Peça a alguém que discorda de você para apontar a falha mais provável.",
)
_RISKS: Final = (
    "confundir entusiasmo com evidência",
    "crescer antes de saber por que funciona",
    "depender de uma única pessoa ou de um único canal",
    "adiar a conversa difícil até ela ficar cara",
    "medir o que é fácil em vez do que importa",
)
_CHAIR: Final = re.compile(r"presidente|sintetiz|síntese|sintese|chairman|synthesi", re.IGNORECASE)
_NAME: Final = re.compile(
    r"(?:você é|voce e|seu nome é|you are)\s+(?:o |a |an? |the )?([^\n.,;:(]{2,60})", re.IGNORECASE
)


def council(body: Body) -> str:
    """Advice in Portuguese: an expert in the character of the system prompt, or a chairman's synthesis."""
    system = text_of(body.get("system"))
    question = _question(last_user_text(body))
    chance = random.Random(hashlib.sha256(f"{system}\0{last_user_text(body)}".encode()).digest())
    if _CHAIR.search(system) or (not system and _CHAIR.search(last_user_text(body))):
        return _synthesis(question, chance)
    return _opinion(system, question, chance)


def _question(text: str) -> str:
    """The line of the prompt that looks most like the question, short enough to quote."""
    lines = [line.strip(' \t#>*-"«»“”') for line in text.splitlines() if line.strip()]
    asked = next((line for line in lines if line.endswith("?")), lines[0] if lines else "a questão")
    asked = re.sub(r"^(pergunta|questão|question)\s*:\s*", "", asked, flags=re.IGNORECASE)
    return asked if len(asked) <= 160 else asked[:157].rstrip() + "…"


def _by(lens: str) -> str:
    """ "por" and an article are one word in Portuguese."""
    return f"pel{lens}" if lens.startswith(("o ", "a ", "os ", "as ")) else f"por {lens}"


def _opinion(system: str, question: str, chance: random.Random) -> str:
    lowered = system.lower()
    lens, test = next(
        ((lens, test) for keys, lens, test in _LENSES if any(key in lowered for key in keys)), _DEFAULT_LENS
    )
    found = _NAME.search(system)
    speaker = found.group(1).strip() if found else "Especialista"
    first, second, third = chance.sample(_STEPS, 3)
    return (
        f"{chance.choice(_OPENINGS)}, como {speaker}, eu começaria {_by(lens)}.\n\n"
        f"Você pergunta: «{question}». A resposta depende menos de opinião e mais de saber {test}. "
        f"O erro mais comum aqui é {chance.choice(_RISKS)}.\n\n"
        f"O que eu faria, nesta ordem:\n\n1. {first}\n2. {second}\n3. {third}\n\n"
        f"Se eu tivesse de resumir: **avance, mas em um passo que você possa desfazer**, e volte a esta "
        f"conversa com o que aprendeu."
    )


def _synthesis(question: str, chance: random.Random) -> str:
    first, second, third = chance.sample(_STEPS, 3)
    risk, other = chance.sample(_RISKS, 2)
    return (
        f"## Síntese do conselho\n\nSobre «{question}», os especialistas partiram de lugares diferentes e chegaram "
        f"perto um do outro.\n\n"
        f"### Onde concordam\n\n- A decisão deve ser tomada em passos pequenos e reversíveis.\n"
        f"- Evidência vale mais que convicção: é preciso ouvir quem será afetado.\n"
        f"- O maior risco é {risk}.\n\n"
        f"### Onde divergem\n\nUma parte prefere agir já e aprender com o uso; outra quer primeiro afastar o perigo "
        f"de {other}. As duas posições cabem no mesmo plano, desde que haja uma data para rever.\n\n"
        f"### Recomendação\n\n1. {first}\n2. {second}\n3. {third}\n\n"
        f"**Em uma frase:** comece pequeno, com um critério de parada escrito, e reveja em trinta dias."
    )


_BUILT_IN: Final[Mapping[str, AnswerFunction]] = {"words": words, "echo": echo, "council": council}


def answer_function(name: str) -> AnswerFunction:
    """The function called `name`: ``words``, ``echo``, ``council``, ``text:…`` for a constant, ``module:function``."""
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    head, colon, tail = name.partition(":")
    if not colon or not tail:
        raise ValueError(
            f"answers must be one of {', '.join(_BUILT_IN)}, 'text:…' or 'module:function', got {name!r}"
        )
    if head == "text":
        return lambda body: tail
    found = getattr(import_module(head), tail, None)
    if not callable(found):
        raise ValueError(f"answers {name!r}: {head} has no function {tail}")  # noqa: TRY004 - a bad option
    return found  # type: ignore[no-any-return]
