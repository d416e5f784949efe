"""The demo's initial data."""

from __future__ import annotations

from typing import Final

__all__ = ["DEMO_EMAIL", "DEMO_NAME", "PREPARED_QUESTION"]

DEMO_EMAIL: Final = "demo@conselho.example"
DEMO_NAME: Final = "Visitante"
PREPARED_QUESTION: Final = (
    "Tenho uma padaria de bairro que vai bem há seis anos. Devo abrir uma segunda loja agora, com um empréstimo, "
    "ou esperar mais um ano e juntar o dinheiro?"
)
