"""How an answer that broke off is gone on with, pure: the request that asks for the rest, and the seam.

Current models refuse a conversation that ends with a piece of their own answer, so the rest is asked for in words:
repeat the last words that arrived, then go on. The words repeated are the anchor by which the two pieces are fitted
together. A model that sends the bare rest, or begins again from the start, is understood as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["Seam", "anchor_of", "continued", "resumable"]

_ANCHOR: Final = 40
_LONGEST: Final = 400
_QUOTES: Final = " \t\n\"'«“”….`>"
_ASK: Final = (
    "The connection broke while you were answering; the text above is all that arrived. Go on with your answer from "
    "exactly there, in the same language and form: first repeat, letter by letter, the last words that arrived (they "
    "stand between the marks below, without the marks), then continue at once. Write no introduction, no apology, and "
    "nothing else twice. If your answer was already complete, write only those words.\n\n"
    "<last_words>{anchor}</last_words>"
)


def resumable(params: Mapping[str, Any]) -> bool:
    """Whether the rest of an answer can be asked for: not where the form of the whole answer is enforced."""
    config = params.get("output_config")
    return not (isinstance(config, Mapping) and config.get("format")) and not params.get("output_format")


def anchor_of(text: str) -> str:
    """The last words of `text`, from the beginning of a word, so that they stand in it only once.

    They also never end as they begin in a way that lets them follow themselves: in a text that repeats a phrase,
    what comes next must not look like the anchor.
    """
    if len(text) <= _ANCHOR:
        return text
    begin = text.rfind(" ", 0, len(text) - _ANCHOR) + 1
    begin = max(begin, len(text) - 2 * _ANCHOR)
    lowest = max(0, len(text) - _LONGEST)
    for start in (*range(begin, lowest - 1, -1), *range(begin + 1, len(text) - _ANCHOR // 2)):
        anchor = text[start:]
        if text.find(anchor) == start and not _repeats(anchor):
            return anchor
    return text[begin:]


def _repeats(text: str) -> bool:
    """Whether `text` is some shorter text several times over."""
    return text in (text + text)[1:-1]


def continued(params: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The request for the rest of an answer of which `text` has arrived."""
    asked = _ASK.format(anchor=anchor_of(text))
    messages = [
        *params["messages"],
        {"role": "assistant", "content": [{"type": "text", "text": text}]},
        {"role": "user", "content": [{"type": "text", "text": asked}]},
    ]
    room = params["max_tokens"] - len(text) // 4  # an estimate that is rather too low for most languages
    # A thinking budget may be larger than the room that is left, and a forced tool was not what it was writing.
    rest = {name: value for name, value in params.items() if name not in ("thinking", "tool_choice")}
    return {**rest, "messages": messages, "max_tokens": max(64, room)}


class Seam:
    """Takes the text of a continuation and gives back what is new in it."""

    __slots__ = ("_candidates", "_held", "_open")

    def __init__(self, text: str) -> None:
        """`text` is what has been delivered."""
        anchor = anchor_of(text)
        # Beginning again is told from repeating the anchor by how both begin.
        whole = "" if text.startswith(anchor) or _repeats(text) else text
        self._candidates = [c for c in (whole, anchor) if c]
        self._held = ""
        self._open = bool(self._candidates)

    def feed(self, text: str) -> str:
        """What of `text` is new as far as can be said now; the rest is held until more has come."""
        if not self._open:
            return text
        self._held += text
        overlap = self._overlap()
        return "" if overlap is None else self._release(overlap)

    def close(self) -> str:
        """The end of the continuation: what was held and is new after all."""
        if not self._open:
            return ""
        overlap = self._overlap()
        if overlap is None:  # it began to repeat and stopped: a long piece of that is no new text
            repeated = len(self._held.strip(_QUOTES)) >= _ANCHOR // 2
            overlap = len(self._held) if repeated else 0
        return self._release(overlap)

    def _release(self, skip: int) -> str:
        self._open = False
        new, self._held = self._held[skip:], ""
        return new

    def _overlap(self) -> int | None:
        """How many characters of what is held repeat what was there: 0 for none, None where it is too early to say.

        The very same letters come before those with a quotation mark in front, the longer candidate before the
        shorter one.
        """
        held = self._held
        for candidate in self._candidates:
            if held.startswith(candidate):
                return len(candidate)
            if candidate.startswith(held):
                return None
        bare = held.lstrip(_QUOTES)
        quotes = len(held) - len(bare)
        if not held[:quotes].strip(" "):  # a space alone is how a next word begins
            return None if not bare and quotes < 2 else 0
        for candidate in self._candidates:
            wanted = candidate.lstrip(_QUOTES)
            if wanted and bare.startswith(wanted):
                return quotes + len(wanted)
            if wanted.startswith(bare) and wanted:
                return None
        return 0
