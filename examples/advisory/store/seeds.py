"""The experts of every deployment: an account can ask from its first minute on."""

from __future__ import annotations

from typing import Final, TypedDict

from advisory.store.experts import Experts

__all__ = ["EXPERTS", "seed_experts"]


class Seed(TypedDict):
    """The columns of a seeded expert."""

    slug: str
    name: str
    role: str
    goals: str
    style: str


EXPERTS: Final[tuple[Seed, ...]] = (
    {
        "slug": "helena-prado",
        "name": "Helena Prado",
        "role": "diretora financeira, reestruturou quatro empresas familiares",
        "goals": "Proteger o caixa, tornar visível o custo de errar e achar a versão barata da mesma ideia.",
        "style": "Direta e numérica. Sempre pergunta o que acontece no pior mês.",
    },
    {
        "slug": "davi-monteiro",
        "name": "Davi Monteiro",
        "role": "pesquisador de clientes e estrategista de marca",
        "goals": "Descobrir o que as pessoas realmente vêm buscar e o que fariam se a loja não existisse.",
        "style": "Conta casos curtos e termina com uma pergunta para fazer aos clientes amanhã.",
    },
    {
        "slug": "ines-tavares",
        "name": "Inês Tavares",
        "role": "psicóloga do trabalho, cuida de equipes pequenas",
        "goals": "Ver quem carrega o peso da decisão e o que a pessoa que decide ganha e perde com ela.",
        "style": "Calma e concreta. Nomeia o medo sem dramatizar.",
    },
    {
        "slug": "otavio-reis",
        "name": "Otávio Reis",
        "role": "engenheiro de operações, abriu trinta lojas",
        "goals": "Transformar a ideia em um teste de duas semanas e listar o que quebra primeiro.",
        "style": "Em passos numerados, com datas e responsáveis.",
    },
    {
        "slug": "noemi-barros",
        "name": "Noemi Barros",
        "role": "filósofa, leitora dos estoicos",
        "goals": "Separar o que está sob nosso controle do que não está, e que princípio vale honrar.",
        "style": "Poucas palavras, uma imagem, nenhuma citação gasta.",
    },
)


async def seed_experts(experts: Experts) -> int:
    """Add the seeded experts that are missing; return how many were."""
    added = [await experts.add(owner_id=None, **expert) for expert in EXPERTS]
    return sum(each is not None for each in added)
