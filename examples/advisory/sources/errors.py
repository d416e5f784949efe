"""The failures of a source, and their reasons in the user's words."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import Final, Literal, TypeAlias

from prodkit.errors import BulkheadFullError, CallTimeoutError, CircuitOpenError, RateLimitedError
from prodkit.ratelimit.messages import duration

__all__ = ["Code", "SourceError", "source_reason"]

Code: TypeAlias = Literal["unset", "quota", "busy", "down", "credential", "refused", "shape", "nothing"]
_BRASILIA = timezone(timedelta(hours=-3))


class SourceError(Exception):
    """A source gave nothing: its `code` says why, `retry_after` the seconds until it may, where that is known."""

    def __init__(self, code: Code, *, retry_after: float | None = None) -> None:
        super().__init__(code)
        self.code: Code = code
        self.retry_after = retry_after


_REASONS: Final[dict[Code, str]] = {
    "unset": "não configurada nesta instalação",
    "quota": "a cota de uso desta fonte acabou por hoje",
    "busy": "a fonte está com pedidos demais",
    "down": "a fonte está fora do ar",
    "credential": "a fonte recusou a nossa credencial",
    "refused": "a fonte não aceitou o pedido",
    "shape": "a fonte respondeu em um formato inesperado",
    "nothing": "a fonte não encontrou nada sobre isso",
}


def source_reason(error: BaseException) -> str:
    """Why a source gave nothing, without codes, addresses or secrets; with the time of the next try if known."""
    if isinstance(error, SourceError):
        return _REASONS[error.code] + _in(error.retry_after)
    if isinstance(error, CircuitOpenError):
        text = "a fonte está em pausa depois de várias falhas seguidas"
        if error.retry_after is None:
            return text
        again = datetime.now(_BRASILIA) + timedelta(seconds=error.retry_after)
        return f"{text}; nova tentativa às {again:%H:%M}"
    if isinstance(error, RateLimitedError | BulkheadFullError):
        return _REASONS["busy"] + _in(getattr(error, "retry_after", None))
    if isinstance(error, CallTimeoutError | TimeoutError):
        return "a fonte demorou mais que o limite"
    return "houve um erro inesperado, que foi registrado"


def _in(seconds: float | None) -> str:
    return "" if seconds is None else f"; tente em {duration(math.ceil(seconds), 'pt-BR')}"
