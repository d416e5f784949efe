"""FastAPI's validation errors as problem+json: where each fault is, in the reader's language, without the input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from prodkit.ratelimit.messages import Language
from prodkit.web.problem import Problem, describe

__all__ = ["of_validation"]

_TEXTS: Final[Mapping[str, Mapping[Language, str]]] = {
    "missing": {"en": "This field is required.", "pt-BR": "Este campo é obrigatório."},
    "too_short": {
        "en": "At least {min_length} are required.",
        "pt-BR": "São necessários pelo menos {min_length}.",
    },
    "too_long": {
        "en": "At most {max_length} are allowed.",
        "pt-BR": "São permitidos no máximo {max_length}.",
    },
    "string_too_short": {
        "en": "At least {min_length} characters are required.",
        "pt-BR": "São necessários pelo menos {min_length} caracteres.",
    },
    "string_too_long": {
        "en": "At most {max_length} characters are allowed.",
        "pt-BR": "São permitidos no máximo {max_length} caracteres.",
    },
    "greater_than": {"en": "The value must be above {gt}.", "pt-BR": "O valor deve ser maior que {gt}."},
    "greater_than_equal": {
        "en": "The value must be at least {ge}.",
        "pt-BR": "O valor deve ser no mínimo {ge}.",
    },
    "less_than": {"en": "The value must be below {lt}.", "pt-BR": "O valor deve ser menor que {lt}."},
    "less_than_equal": {"en": "The value must be at most {le}.", "pt-BR": "O valor deve ser no máximo {le}."},
    "multiple_of": {
        "en": "The value must be a multiple of {multiple_of}.",
        "pt-BR": "O valor deve ser múltiplo de {multiple_of}.",
    },
    "literal_error": {"en": "The value must be {expected}.", "pt-BR": "Os valores aceitos são: {expected}."},
    "enum": {"en": "The value must be {expected}.", "pt-BR": "Os valores aceitos são: {expected}."},
    "extra_forbidden": {"en": "This field is not expected.", "pt-BR": "Este campo não é esperado."},
    "json_invalid": {"en": "The body is not valid JSON.", "pt-BR": "O corpo não é um JSON válido."},
    "string_pattern_mismatch": {
        "en": "The value does not have the expected format.",
        "pt-BR": "O valor não está no formato esperado.",
    },
}
# By the beginning of pydantic's error type: int_parsing, int_type, int_from_float…
_KINDS: Final[Mapping[str, Mapping[Language, str]]] = {
    "string": {"en": "A text is expected.", "pt-BR": "É esperado um texto."},
    "int": {"en": "A whole number is expected.", "pt-BR": "É esperado um número inteiro."},
    "float": {"en": "A number is expected.", "pt-BR": "É esperado um número."},
    "decimal": {"en": "A number is expected.", "pt-BR": "É esperado um número."},
    "bool": {"en": "True or false is expected.", "pt-BR": "É esperado verdadeiro ou falso."},
    "datetime": {"en": "A date with time is expected.", "pt-BR": "É esperada uma data com hora."},
    "date": {"en": "A date is expected.", "pt-BR": "É esperada uma data."},
    "time": {"en": "A time is expected.", "pt-BR": "É esperado um horário."},
    "uuid": {"en": "An identifier (UUID) is expected.", "pt-BR": "É esperado um identificador (UUID)."},
    "url": {"en": "A web address is expected.", "pt-BR": "É esperado um endereço da web."},
    "list": {"en": "A list is expected.", "pt-BR": "É esperada uma lista."},
    "dict": {"en": "An object is expected.", "pt-BR": "É esperado um objeto."},
    "model": {"en": "An object is expected.", "pt-BR": "É esperado um objeto."},
}
_OTHER: Final[Mapping[Language, str]] = {"en": "The value is not valid.", "pt-BR": "O valor não é válido."}


def of_validation(faults: Iterable[Mapping[str, Any]], language: Language) -> Problem:
    """Return the problem of ``RequestValidationError.errors()``.

    Each fault has ``in`` (``body``, ``query``, ``path``, ``header``, ``cookie``), a JSON ``pointer`` below it,
    pydantic's type as ``code``, and ``detail``. The input and pydantic's message, which may quote it, stay out.

    Args:
        faults: mappings with ``loc``, ``type`` and ``ctx``.
        language: of the texts.
    """
    found = [_fault(fault, language) for fault in faults]
    return replace(describe("invalid", language), extra={"errors": found})


def _fault(fault: Mapping[str, Any], language: Language) -> dict[str, Any]:
    place, *path = fault.get("loc") or ("body",)
    code = str(fault.get("type", "invalid"))
    pointer = "#" + "".join("/" + str(each).replace("~", "~0").replace("/", "~1") for each in path)
    if code == "json_invalid":
        pointer = "#"  # its path is a position in the text
    return {
        "in": place,
        "pointer": pointer,
        "code": code,
        "detail": _text(code, fault.get("ctx") or {}, language),
    }


def _text(code: str, context: Mapping[str, Any], language: Language) -> str:
    texts = _TEXTS.get(code) or _KINDS.get(code.partition("_")[0]) or _OTHER
    try:
        return texts[language].format(**context)
    except (KeyError, IndexError, ValueError):
        return _OTHER[language]
