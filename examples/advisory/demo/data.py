"""The demo's initial data."""

from __future__ import annotations

from typing import Final, TypedDict

__all__ = ["DEMO_EMAIL", "DEMO_NAME", "EXAMPLE_PERSONA", "PREPARED_QUESTION"]

DEMO_EMAIL: Final = "demo@conselho.example"
DEMO_NAME: Final = "Visitante"
PREPARED_QUESTION: Final = (
    "Tenho uma padaria de bairro que vai bem há seis anos. Devo abrir uma segunda loja agora, com um empréstimo, "
    "ou esperar mais um ano e juntar o dinheiro?"
)


class Described(TypedDict):
    """What an account says of a persona."""

    name: str
    role: str
    goals: str
    style: str


EXAMPLE_PERSONA: Final[Described] = {
    "name": "Marta",
    "role": "cliente da padaria, compra pão todo dia antes do trabalho",
    "goals": "Chegar cedo ao trabalho sem abrir mão do pão fresco, e gastar o mesmo de sempre.",
    "style": "Decide em segundos, conhece o padeiro pelo nome e não perdoa fila.",
}
