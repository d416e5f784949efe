"""A finished council to look at before there is an account: the page that a question leads to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from advisory.council.model import Point, Run, Seat
from advisory.store.seeds import EXPERTS

__all__ = ["EXAMPLE"]

_WHEN: Final = datetime(2026, 11, 16, 13, 12, tzinfo=UTC)
_OPINIONS: Final = (
    """Comece pelo **pior mês**, não pelo melhor. Uma segunda loja leva de seis a nove meses para se pagar, e nesse \
tempo a primeira sustenta as duas. Se fevereiro já aperta o caixa, o empréstimo compra preocupação.

1. Separe quatro meses de custo fixo das duas lojas.
2. Só assine um contrato com saída em doze meses.
3. Se em seis meses ela não pagar o próprio aluguel, feche sem discutir.""",
    """Uma vez uma dona de café me disse que vendia café; as clientes disseram que compravam vinte minutos de paz. \
Você sabe o que vendem as suas fornadas? Se for o forno, ele viaja. Se for você no balcão às sete, não viaja.

Antes da loja, entregue por um mês no bairro novo. **Pergunta para amanhã:** “se fechássemos, onde você compraria?”""",
    """Quem abre a porta às quatro da manhã na segunda loja? Se a resposta é você, não são duas lojas: é a mesma \
pessoa cansada em dois lugares. Forme alguém primeiro, e deixe essa pessoa cuidar da loja de hoje por três semanas.

O medo de perder o ponto é real. Ele só não deve ser quem assina.""",
)
EXAMPLE: Final = Run(
    id=UUID(int=0),
    question="Minha padaria de bairro vai bem há seis anos. Abro uma segunda loja agora, com um empréstimo, ou espero "
    "mais um ano e junto o dinheiro?",
    status="done",
    created_at=_WHEN,
    finished_at=_WHEN,
    synthesis="""Os três dizem **ainda não**, e nenhum diz nunca. O que falta não é só dinheiro: é alguém que abra a \
porta sem você.

### Onde divergem

Helena Prado espera o caixa de quatro meses. Davi Monteiro vai ao bairro novo já, sem loja, com entregas.

### O que fazer

1. Entregue no bairro novo por um mês e conte quem volta.
2. Deixe outra pessoa no comando da loja de hoje por três semanas.
3. Se as duas coisas derem certo, procure o ponto, com saída em doze meses.

**Em uma frase:** teste o bairro e a equipe antes de pagar pelas paredes.""",
    seats=tuple(
        Seat(position=n, name=expert["name"], role=expert["role"], status="done", text=text)
        for n, (expert, text) in enumerate(zip(EXPERTS, _OPINIONS, strict=False), start=1)
    ),
    agreement=(
        Point(text="Um teste pequeno vem antes do contrato.", agree=(1, 2, 3), disagree=()),
        Point(
            text="É preciso começar já.",
            agree=(2,),
            disagree=(1, 3),
            note="Davi começa por entregas; as outras duas, pelo caixa e pela equipe.",
        ),
    ),
)
"""Written by hand, so that every deployment has it and no model is asked; the page says that it is an example."""
