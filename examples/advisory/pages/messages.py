"""The texts of failed requests."""

from __future__ import annotations

from typing import Final

__all__ = ["for_status"]

_TEXTS: Final[dict[int, tuple[str, str]]] = {
    400: ("Pedido inválido", "O navegador enviou algo que não entendemos. Volte e tente de novo."),
    403: (
        "Pedido recusado",
        "A página ficou aberta por muito tempo, ou o pedido veio de outro site. Recarregue a página e tente de novo.",
    ),
    404: ("Página não encontrada", "O endereço não existe, ou o que havia aqui não é seu."),
    405: ("Pedido inválido", "Este endereço não aceita esse tipo de pedido."),
    413: ("Arquivo grande demais", "O que foi enviado passa do limite de 5 MiB. Escolha um arquivo menor."),
    429: ("Calma, por favor", "Você chegou ao limite por agora."),
    500: ("Algo deu errado do nosso lado", "O erro foi registrado. O que já estava salvo continua salvo."),
    503: (
        "Indisponível por um momento",
        "Uma parte do serviço não respondeu. O que já estava salvo continua salvo.",
    ),
    504: (
        "Demorou demais",
        "A resposta não veio a tempo. Veja se o pedido já foi feito antes de tentar de novo.",
    ),
}


def for_status(status: int) -> tuple[str, str]:
    """Title and text."""
    return _TEXTS.get(status, _TEXTS[500 if status >= 500 else 400])
