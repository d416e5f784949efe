"""The status of an error, and its text for the person in front of the page. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from prodkit import errors
from prodkit.ratelimit import Decision, headers as limit_headers, problem as limit_problem
from prodkit.ratelimit.messages import Language, duration
from prodkit.sessions import StepUpRequiredError

__all__ = [
    "LANGUAGES",
    "ConflictError",
    "LimitReachedError",
    "Problem",
    "describe",
    "language_of",
    "of_detail",
    "of_error",
    "of_status",
]

LANGUAGES: Final[tuple[Language, ...]] = ("pt-BR", "en")


class ConflictError(errors.RejectedError):
    """The same request, by its ``Idempotency-Key``, is being processed."""


class LimitReachedError(errors.RateLimitedError):
    """A RateLimitedError with the decision, for its text and header fields."""

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | None = None,
        limit: str = "",
        decision: Decision | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after, limit=limit)
        self.decision = decision

    @classmethod
    def of(cls, decision: Decision) -> LimitReachedError:
        """Return the error of a refusal."""
        name = decision.violated[0].name if decision.violated else ""
        return cls(
            f"rate limit {name!r} reached", retry_after=decision.retry_after, limit=name, decision=decision
        )


_TEXTS: Final[Mapping[str, tuple[int, Mapping[str, tuple[str, str]]]]] = {
    "bad_request": (400, {
        "pt-BR": ("Pedido inválido", "Não foi possível entender o pedido."),
        "en": ("Bad request", "The request could not be understood."),
    }),
    "signed_out": (401, {
        "pt-BR": ("Sessão encerrada", "Entre novamente para continuar."),
        "en": ("Signed out", "Sign in again to continue."),
    }),
    "confirm": (401, {
        "pt-BR": ("Confirme sua identidade", "Digite sua senha novamente para continuar."),
        "en": ("Confirm your identity", "Enter your password again to continue."),
    }),
    "forbidden": (403, {
        "pt-BR": ("Acesso negado", "Você não tem permissão para isto."),
        "en": ("Forbidden", "You are not allowed to do this."),
    }),
    "csrf": (403, {
        "pt-BR": ("Pedido recusado", "O pedido não veio desta página, ou ela expirou. Recarregue e tente de novo."),
        "en": ("Request refused", "The request did not come from this page, or it expired. Reload and try again."),
    }),
    "not_found": (404, {
        "pt-BR": ("Página não encontrada", "O endereço não existe ou foi removido."),
        "en": ("Not found", "The address does not exist or was removed."),
    }),
    "method": (405, {
        "pt-BR": ("Método não permitido", "Este endereço não aceita este tipo de pedido."),
        "en": ("Method not allowed", "This address does not take this kind of request."),
    }),
    "conflict": (409, {
        "pt-BR": ("Pedido em andamento", "O mesmo pedido já está sendo processado."),
        "en": ("Request in progress", "The same request is being processed already."),
    }),
    "too_large": (413, {
        "pt-BR": ("Conteúdo grande demais", "O conteúdo enviado ultrapassa o limite."),
        "en": ("Content too large", "What was sent is over the limit."),
    }),
    "invalid": (422, {
        "pt-BR": ("Dados inválidos", "Os dados enviados não foram aceitos."),
        "en": ("Invalid input", "What was sent was not accepted."),
    }),
    "invalid_file": (422, {
        "pt-BR": ("Arquivo recusado", "O arquivo enviado não foi aceito."),
        "en": ("File refused", "The file was not accepted."),
    }),
    "rate_limited": (429, {
        "pt-BR": ("Limite atingido", "Você atingiu o limite de uso."),
        "en": ("Limit reached", "You have reached the limit."),
    }),
    "internal": (500, {
        "pt-BR": ("Erro interno", "Algo deu errado do nosso lado. Se continuar, informe o código do pedido."),
        "en": ("Internal error", "Something went wrong on our side. If it goes on, tell us the request id."),
    }),
    "unavailable": (503, {
        "pt-BR": ("Serviço indisponível", "O serviço está temporariamente indisponível."),
        "en": ("Service unavailable", "The service is unavailable for the moment."),
    }),
    "busy": (503, {
        "pt-BR": ("Muitos pedidos ao mesmo tempo", "O serviço está ocupado agora."),
        "en": ("Too busy", "The service is busy right now."),
    }),
    "restarting": (503, {
        "pt-BR": ("Reiniciando", "O serviço está reiniciando."),
        "en": ("Restarting", "The service is restarting."),
    }),
    "timeout": (504, {
        "pt-BR": ("Tempo esgotado", "A resposta demorou demais."),
        "en": ("Timed out", "The answer took too long."),
    }),
}  # fmt: skip

_BY_STATUS: Final = {
    400: "bad_request", 401: "signed_out", 403: "forbidden", 404: "not_found", 405: "method", 413: "too_large",
    422: "invalid", 429: "rate_limited", 500: "internal", 503: "unavailable", 504: "timeout",
}  # fmt: skip

# The first class that fits decides, so the special ones stand above their bases.
_BY_ERROR: Final[tuple[tuple[type[Exception], str], ...]] = (
    (errors.CsrfError, "csrf"),
    (StepUpRequiredError, "confirm"),
    (ConflictError, "conflict"),
    (errors.InvalidSessionError, "signed_out"),
    (errors.InvalidFileError, "invalid_file"),
    (errors.EnvError, "internal"),
    (errors.InvalidError, "invalid"),
    (errors.RateLimitedError, "rate_limited"),
    (errors.DrainingError, "restarting"),
    (errors.PoolExhaustedError, "busy"),
    (errors.BulkheadFullError, "busy"),
    (errors.RejectedError, "unavailable"),
    (errors.CallTimeoutError, "timeout"),
    (errors.UnavailableError, "unavailable"),
)
_AGAIN: Final[Mapping[Language, str]] = {"pt-BR": "Tente novamente em {}.", "en": "Try again in {}."}
_PREFIXES: Final[Mapping[str, Language]] = {"pt": "pt-BR", "en": "en"}
_MEMBERS: Final = frozenset(("status", "title", "detail", "message", "retry_after", "request_id"))
_WAIT: Final = 5.0
"""Retry-After of a 503 whose error names no wait: the length of a restart, in seconds."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem as RFC 9457 describes it, in the reader's language.

    Args:
        status: the HTTP status.
        code: stable name for programs, such as ``rate_limited``.
        title: a few words.
        detail: a sentence, with the next step where there is one.
        retry_after: whole seconds until a retry makes sense; None where that is not known.
        extra: further members of the document.
        headers: further response headers.
    """

    status: int
    code: str
    title: str
    detail: str
    retry_after: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def body(self, request_id: str | None = None) -> dict[str, Any]:
        """Return the members of the ``application/problem+json`` document, with `request_id` where there is one."""
        found: dict[str, Any] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.extra,
        }
        if self.retry_after is not None:
            found["retry_after"] = self.retry_after
        if request_id is not None:
            found["request_id"] = request_id
        return found


def language_of(accept: str, default: Language) -> Language:
    """Return the supported language that an ``Accept-Language`` header prefers, or `default`."""
    best: Language = default
    weight = 0.0
    for part in accept[:200].split(","):
        name, _, parameters = part.partition(";")
        tag = name.strip().lower()
        quality = 1.0
        if parameters.strip().startswith("q="):
            try:
                quality = float(parameters.strip()[2:])
            except ValueError:
                quality = 0.0
        found = _PREFIXES.get(tag.split("-")[0])
        if found and quality > weight:
            best, weight = found, quality
    return best


def describe(code: str, language: Language, *, retry_after: float | None = None, **extra: Any) -> Problem:
    """Return the problem `code` in `language`, its text in agreement with `retry_after`."""
    status, texts = _TEXTS[code]
    title, detail = texts[language]
    seconds = None if retry_after is None else max(1, math.ceil(retry_after))
    if seconds is not None:
        detail = f"{detail} {_AGAIN[language].format(duration(seconds, language))}"
    return Problem(status, code, title, detail, seconds, extra)


def of_error(error: Exception, language: Language) -> Problem:
    """Return the problem of an exception. Its message stays out of it, except the reasons of a refused file."""
    if isinstance(error, LimitReachedError) and error.decision is not None:
        return _limited(error.decision, language)
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            wait: float | None = getattr(error, "retry_after", None)
            if wait is None and _TEXTS[code][0] == 503:
                wait = _WAIT
            return describe(code, language, retry_after=wait, **_facts(error))
    return describe("internal", language)


def of_status(status: int, language: Language, *, detail: str = "") -> Problem:
    """Return the problem of a bare HTTP status; `detail` replaces our text."""
    code = _BY_STATUS.get(status) or ("bad_request" if status < 500 else "unavailable")
    found = describe(code, language)
    title = found.title if status in _BY_STATUS else detail or found.title
    return Problem(status, found.code, title, detail or found.detail)


def of_detail(status: int, language: Language, detail: Any) -> Problem:
    """Return the problem of an ``HTTPException`` whose `detail` may be any JSON value.

    A mapping's members become members of the document, ``detail`` or ``message`` its text; a list becomes ``errors``.
    """
    if isinstance(detail, Mapping):
        text = detail.get("detail") or detail.get("message") or ""
        found = of_status(status, language, detail=text if isinstance(text, str) else "")
        title = detail.get("title")
        extra = {str(name): value for name, value in detail.items() if name not in _MEMBERS}
        return replace(found, extra=extra, title=title if isinstance(title, str) else found.title)
    if isinstance(detail, (list, tuple)):
        return replace(of_status(status, language), extra={"errors": list(detail)})
    return of_status(status, language, detail="" if detail is None else str(detail))


def _facts(error: Exception) -> dict[str, Any]:
    if isinstance(error, errors.InvalidFileError):
        return {"problems": [{"code": p.code, "message": p.message} for p in error.problems]}
    if isinstance(error, errors.RateLimitedError) and error.limit:
        return {"limit": error.limit}
    return {}


def _limited(decision: Decision, language: Language) -> Problem:
    found = describe(
        "unavailable" if decision.unavailable else "rate_limited", language, retry_after=decision.retry_after
    )
    body = limit_problem(decision, language)
    detail = str(body["detail"])
    # The body is that of `ratelimit.problem`, so a service without this part answers alike.
    extra = (
        {} if decision.unavailable else {name: body[name] for name in ("type", "limit", "violated-policies")}
    )
    fields = {name.lower(): value for name, value in limit_headers(decision).items()}
    return replace(found, detail=detail, extra=extra, headers=fields)
