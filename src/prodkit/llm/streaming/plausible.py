"""Judge whether a text can be the bare rest of another, pure: language, sentence boundary, apologies.

A continuation that repeats nothing may be what was asked for with the repetition left out, or something else: an
apology, a new answer, an answer in another language. Nothing in the text proves it, so the judgement is cautious: what
looks like the beginning of something else is not joined.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_preamble", "language_of", "plausible_rest"]

_APOLOGY: Final = re.compile(
    r"\b(sorry|apolog|interrupt|resum(e|ing)|continu(e|ing|ed|ation)\b|pick(ing)? up|left off|cut off|"
    r"here(?:'s| is| are) (the|my)|as (i was|requested)|sure|certainly|of course|let me|"
    r"desculp|perd[ãa]o|lament|interromp|interrup|retom|continuando|continuo|segue|aqui est[áa]|claro|"
    r"lo siento|disculp|contin[úu]o|aqu[íi] est[áa]|sigo|"
    r"d[ée]sol|pardon|excus|reprend|poursui|voici|"
    r"entschuldig|fortsetz|hier ist|weiter|verzeih|"
    r"scus|mi dispiace|riprend|ecco)",
    re.IGNORECASE,
)
_WORDS: Final = re.compile(r"[^\W\d_]+")
_COMMON: Final = {
    "en": "the and of to is that for with you this are not it be was have from what your will when which",
    "pt": "que não uma com os para por mais das dos você como mas ao sua seu pela pelo isso também ser são está o do",
    "es": "que el los las una con por más del como pero su al lo este esta muy hay fue ser sus está y la",
    "fr": "le les des est une pour dans que pas vous sur avec ce qui il au sont nous mais plus ou et la",
    "de": "der die das und ist nicht ein eine zu den mit sich auf für im dem von als auch es an werden wird",
    "it": "il di che non una per con sono del gli della come ma più anche alla questo è lo nel dei",
}
_SETS: Final = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_ENDS: Final = '.!?:…\n»”")'


def language_of(text: str) -> tuple[str, float]:
    """Return the language of `text` ("" where its words say nothing) and the share of its words that show it."""
    words = [word.lower() for word in _WORDS.findall(text)]
    if not words:
        return "", 0.0
    hits = {language: sum(word in common for word in words) for language, common in _SETS.items()}
    best = max(hits, key=hits.__getitem__)
    return (best, hits[best] / len(words)) if hits[best] >= 2 else ("", 0.0)


def script_of(text: str) -> str:
    """Return the script of most letters of `text`: latin, cyrillic, greek, arabic, cjk, other, or "" for no letters."""
    counts: dict[str, int] = {}
    for letter in text:
        if letter.isalpha():
            code = ord(letter)
            script = (
                "latin" if code < 0x250 else "greek" if code < 0x400 else "cyrillic" if code < 0x530
                else "arabic" if 0x590 <= code < 0x780 else "cjk" if code >= 0x2E80 else "other"
            )  # fmt: skip
            counts[script] = counts.get(script, 0) + 1
    return max(counts, key=counts.__getitem__) if counts else ""


def is_preamble(text: str, after: str | None) -> bool:
    """Return True when `text` looks like words in front of a continuation: an apology, an announcement, a quotation.

    Args:
        text: the beginning of the continuation.
        after: the text that follows it; None when that has not arrived.
    """
    if after is None:
        return bool(_APOLOGY.search(text[:200]))
    # An announcement ends before the repetition begins: a colon, a sentence, a line, an opening mark.
    ended = text.rstrip()[-1:] in ".!?:…>\"“«'`*-—" or text.endswith("\n") or after[:1] == "\n"
    return len(text) <= 400 and (bool(_APOLOGY.search(text)) or ended)


def plausible_rest(delivered: str, rest: str) -> float:
    """Return from 0 to 1 how plausible it is that `rest` continues `delivered` directly."""
    recent, start = delivered[-600:], rest[:400]
    if not start.strip():
        return 0.9
    if (script := script_of(recent)) and (other := script_of(start)) and script != other:
        return 0.05
    if _APOLOGY.search(start[:120]) and not _APOLOGY.search(recent):
        return 0.2
    (language, _), (other_language, other_share) = language_of(recent), language_of(start)
    if language and other_language and language != other_language:
        ours = sum(word.lower() in _SETS[language] for word in _WORDS.findall(start))
        theirs = sum(word.lower() in _SETS[other_language] for word in _WORDS.findall(start))
        if theirs > ours + 1:
            return 0.1
    if not language and other_language and len(_WORDS.findall(recent)) >= 8 and other_share >= 0.15:
        return 0.2  # prose after something that was none
    first = start.lstrip()[:1]
    if start[:1].isupper() and delivered[-1:].isalnum() and not delivered[-1:].isupper():
        return 0.2  # a capital letter within a word
    if first.isupper() and delivered[-1:] not in _ENDS and _is_sentence_case(recent):
        # In mid-sentence a new sentence begins: legitimate before a name, and more often a new beginning.
        return 0.55 if start[:1].isspace() else 0.3
    return 0.7 if start[:1].isspace() or not first.isalnum() else 0.6


def _is_sentence_case(text: str) -> bool:
    """Return True when few words of `text` begin with a capital letter."""
    words = _WORDS.findall(text)
    capital = sum(word[0].isupper() for word in words)
    return len(words) >= 2 and capital <= len(words) * 0.4
