"""Ways in which a model continues an answer that was cut, obedient and not, seeded and pure."""

from __future__ import annotations

import random
import re
from typing import Final

__all__ = ["PERSONALITIES", "continue_as"]

PERSONALITIES: Final = (
    "exact",  # the bare rest
    "anchor",  # the quoted words, then the rest: as asked
    "restart",  # the whole answer from its beginning
    "more",  # more words than were quoted
    "fewer",  # only the last few of them
    "squeezed",  # the quoted words with their white space squeezed
    "apology",  # an apology, then the quoted words
    "bare_apology",  # an apology, then the bare rest
    "language",  # another answer in another language
)
"""The names that a behaviour's ``continuation`` and ``Simulator.continuations`` take."""

_APOLOGIES: Final = (
    "Sorry for the interruption! Here is the rest:\n\n",
    "Apologies, the connection dropped. Continuing from where I left off: ",
    "Desculpe a interrupção. Continuando: ",
    "Sure, let me continue.\n\n",
)
_FOREIGN: Final = (
    "Es tut mir leid, aber ich kann die Antwort nur auf Deutsch fortsetzen. Man sollte klein beginnen und es messen.",
    "La décision dépend surtout de la personne qui la prend. Il vaut mieux commencer par un petit pas, puis décider.",
    "Решение зависит прежде всего от того, кто его принимает. Лучше начать с маленького шага и измерить его.",
)


def continue_as(personality: str, had: str, rest: str, quoted: str, chance: random.Random) -> str:
    """Return a continuation.

    Args:
        personality: one of :data:`PERSONALITIES`.
        had: the text that had arrived.
        rest: the text that follows it.
        quoted: the words that the request asks to repeat.
        chance: decides how many words, which apology, which language.
    """
    match personality:
        case "exact":
            return rest
        case "anchor":
            return quoted + rest
        case "restart":
            return had + rest
        case "more":
            words = len(re.findall(r"\S+", quoted)) + chance.randint(2, 14)
            return _last_words(had, words) + rest
        case "fewer":
            return _last_words(had, chance.randint(2, 5)) + rest
        case "squeezed":
            return re.sub(r"\s+", " ", quoted) + rest
        case "apology":
            return chance.choice(_APOLOGIES) + quoted + rest
        case "bare_apology":
            return chance.choice(_APOLOGIES) + rest.lstrip()
        case "language":
            return chance.choice(_FOREIGN)
        case _:
            raise ValueError(f"continuation must be one of {', '.join(PERSONALITIES)}, got {personality!r}")


def _last_words(text: str, count: int) -> str:
    """Return the last `count` words of `text`, as they stand there."""
    starts = [found.start() for found in re.finditer(r"\S+", text)]
    return text[starts[-min(count, len(starts))] :] if starts else text
