"""The mails that the app sends."""

from __future__ import annotations

from advisory.mail.message import Mail

__all__ = ["password_changed", "recovery"]


def recovery(*, to: str, name: str, link: str, minutes: int) -> Mail:
    """The way back into an account."""
    return Mail(
        to=to,
        subject="Escolha uma nova senha",
        text=(
            f"Olá, {name}!\n\n"
            "Alguém pediu uma nova senha para a sua conta no Conselho. Se foi você, abra este endereço:\n\n"
            f"{link}\n\n"
            f"Ele vale por {minutes} minutos e uma única vez; um pedido mais novo o substitui.\n"
            "Se não foi você, não é preciso fazer nada: a sua senha continua a mesma.\n"
        ),
    )


def password_changed(*, to: str, name: str) -> Mail:
    """A warning to the owner of an account that was taken."""
    return Mail(
        to=to,
        subject="A sua senha foi trocada",
        text=(
            f"Olá, {name}!\n\n"
            "A senha da sua conta no Conselho acaba de ser trocada, e todas as sessões foram encerradas.\n"
            "Se não foi você, peça uma nova senha na página de entrada e avise quem administra o serviço.\n"
        ),
    )
