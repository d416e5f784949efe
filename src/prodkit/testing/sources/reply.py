"""The reply of a source, and the words that its answers are made of."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

__all__ = ["Api", "Query", "Reply", "chance_of", "day_of", "opinion_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One request to an API, read."""

    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    base: str
    """The address of the source, for links in answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to one request: JSON when `content` is None, else the bytes of `content`.

    Args:
        status: the HTTP status.
        data: the JSON body.
        content: a body that is not JSON.
        media_type: the content type of `content`.
        headers: further response headers.
    """

    status: int = 200
    data: Any = None
    content: bytes | None = None
    media_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Api:
    """One provider's API, pure: its answers, its prices in quota units and its errors in its own shape."""

    name: str = ""

    def units(self, query: Query) -> int:
        """Return the quota units that a request costs; 0 for one that the quota does not know.

        Args:
            query: the request.
        """
        return 1

    def answer(self, query: Query, *, empty: bool, left: int | None) -> Reply:
        """Return the answer to a request, or the error that the API makes of it.

        Args:
            query: the request.
            empty: a search finds nothing.
            left: quota units left, for headers that tell them.
        """
        raise NotImplementedError

    def error(self, status: int) -> Reply:
        """Return an error with this status.

        Args:
            status: the HTTP status.
        """
        raise NotImplementedError

    def quota(self) -> Reply:
        """Return the refusal of a client that has used up its quota."""
        raise NotImplementedError


def chance_of(text: str) -> random.Random:
    """Return the chance of an answer, the same for the same text."""
    return random.Random(hashlib.sha256(text.encode()).digest())


_TODAY: Final = date(2026, 11, 20)


def day_of(chance: random.Random, *, years: int = 3) -> date:
    """Return a day of the last `years` years before November 2026."""
    return _TODAY - timedelta(days=chance.randrange(365 * years))


_FINDINGS: Final = (
    "prefere decidir com números pequenos e testes curtos",
    "fala com frequência sobre preço, tempo e confiança",
    "compra mais quando alguém conhecido recomenda",
    "desiste quando a espera passa de dez minutos",
    "valoriza atendimento pelo nome e entrega no bairro",
    "aprende por vídeos curtos e compara antes de decidir",
    "defende mudar pouco de cada vez e medir sempre",
)


def opinion_of(chance: random.Random, count: int = 3) -> list[str]:
    """Return sentences about a subject, without its name."""
    return chance.sample(_FINDINGS, count)
