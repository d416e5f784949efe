"""Texts for the user of a service when a limit holds, in English and in Portuguese."""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias

from prodkit.ratelimit.decision import Decision

__all__ = ["Language", "duration", "message", "title"]

Language: TypeAlias = Literal["pt-BR", "en"]

_UNITS: Final[dict[Language, tuple[tuple[str, str], ...]]] = {
    "pt-BR": (("segundo", "segundos"), ("minuto", "minutos"), ("hora", "horas"), ("dia", "dias")),
    "en": (("second", "seconds"), ("minute", "minutes"), ("hour", "hours"), ("day", "days")),
}
_OPENINGS: Final[dict[Language, dict[str, str]]] = {
    "pt-BR": {
        "": "Muitas tentativas.",
        "login": "Muitas tentativas de login.",
        "login-ip": "Muitas tentativas de login.",
        "register": "Muitos cadastros a partir desta conexão.",
        "upload": "Muitos envios de arquivos.",
        "outage": "Serviço temporariamente indisponível.",
    },
    "en": {
        "": "Too many attempts.",
        "login": "Too many login attempts.",
        "login-ip": "Too many login attempts.",
        "register": "Too many registrations from this connection.",
        "upload": "Too many file uploads.",
        "outage": "The service is temporarily unavailable.",
    },
}
_AGAIN: Final[dict[Language, str]] = {"pt-BR": "Tente novamente em {}.", "en": "Try again in {}."}


def duration(seconds: float, language: Language = "en") -> str:
    """Return `seconds` in words, rounded up: "12 minutes", "1 hour". Never shorter than the true wait.

    Args:
        seconds: the wait.
        language: of the words.
    """
    amount, unit = max(1, math.ceil(seconds)), 0
    for size in (60, 60, 24):
        if amount < size or (size == 24 and amount <= 48):
            break
        amount, unit = -(-amount // size), unit + 1
    one, many = _UNITS[language][unit]
    return f"{amount} {one if amount == 1 else many}"


def title(decision: Decision, language: Language = "en") -> str:
    """Return the first sentence: what happened.

    Args:
        decision: a refusal.
        language: of the sentence.
    """
    openings = _OPENINGS[language]
    if decision.unavailable:
        return openings["outage"]
    if not decision.violated:
        return openings[""]
    longest = max(decision.states, key=lambda state: state.retry_after).limit
    own = (longest.texts or {}).get(language)
    return own or openings.get(longest.name, openings[""])


def message(decision: Decision, language: Language = "en") -> str:
    """Return the reason and the wait: ``Too many attempts. Try again in 12 minutes.``

    Args:
        decision: a refusal.
        language: of the text.
    """
    wait = _AGAIN[language].format(duration(decision.retry_after, language))
    return f"{title(decision, language)} {wait}"
