"""What the user reads when a request fails: a page for people, problem+json for programs."""

from __future__ import annotations

from typing import Final

__all__ = ["STATUS_TEXTS", "for_status"]

STATUS_TEXTS: Final[dict[int, tuple[str, str]]] = {
    400: ("Pedido inválido", "O navegador enviou algo que não entendemos. Volte e tente de novo."),
    403: ("Pedido recusado", "Esta página ficou aberta por muito tempo ou o pedido veio de outro site. Volte, recarregue a página e tente de novo; nada foi alterado."),
    404: ("Página não encontrada", "O endereço não existe, ou o que havia aqui não é seu."),
    405: ("Pedido inválido", "Este endereço não aceita esse tipo de pedido."),
    413: ("Arquivo grande demais", "O que foi enviado passa do limite de 5 MB. Escolha um arquivo menor."),
    429: ("Calma, por favor", "Você chegou ao limite por agora."),
    500: ("Algo deu errado do nosso lado", "O erro foi registrado. O que já estava salvo continua salvo."),
    503: ("Indisponível por um momento", "Uma parte do serviço não respondeu. O que já estava salvo continua salvo; tente de novo em instantes."),
}  # fmt: skip


def for_status(status: int) -> tuple[str, str]:
    """Title and text."""
    return STATUS_TEXTS.get(status, STATUS_TEXTS[500 if status >= 500 else 400])
